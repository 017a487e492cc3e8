//! A button for somebody who has climbed up: held for five seconds, it shuts the machine down.
//!
//! As in `led.rs`, `rppal` stays in this file, and off a Raspberry Pi it gives up softly.

use std::path::PathBuf;
use std::time::Duration;

use ladder::Mono;
use rppal::gpio::{Gpio, InputPin};
use runtime::clock;
use runtime::heal::{Outcome, Verb};
use tokio_util::sync::CancellationToken;

use super::healer::Healer;

/// How often the pin is read. Shorter bounces do not matter: only what lasts does.
const TICK: Duration = Duration::from_millis(50);

/// How long it has to be held.
const HELD_FOR: Duration = Duration::from_secs(5);

/// Watches the button between pin `gpio` (BCM number) and ground until `stop`.
pub(crate) async fn run(gpio: u8, healer: PathBuf, stop: CancellationToken) {
    let pin = Gpio::new().and_then(|pins| pins.get(gpio)).map(|pin| pin.into_input_pullup());
    let pin: InputPin = match pin {
        Ok(pin) => pin,
        Err(error) => {
            tracing::warn!("no button on GPIO {gpio} (button.gpio): {error}; going on without");
            return stop.cancelled().await;
        }
    };
    let mut hold = Hold::default();
    loop {
        if hold.see(clock::mono(), pin.is_low()) {
            shut_down(&Healer::at(&healer)).await;
        }
        if stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
            return;
        }
    }
}

async fn shut_down(healer: &Healer) {
    let answer = healer.ask(Verb::Poweroff, None, "the button was held for 5 s").await;
    let why = match answer {
        Ok(answer) if answer.outcome == Outcome::Done => return,
        Ok(answer) => answer.said,
        Err(error) => error.to_string(),
    };
    tracing::warn!("button: the healer does not shut the machine down: {why}");
}

/// A button that is held. Pure.
#[derive(Debug, Default)]
struct Hold {
    /// It was seen released: one that never is has a short circuit.
    released: bool,
    since: Option<Mono>,
    told: bool,
}

impl Hold {
    /// True once, when it has been held for long enough.
    fn see(&mut self, now: Mono, pressed: bool) -> bool {
        if !pressed {
            *self = Hold { released: true, ..Hold::default() };
            return false;
        }
        if !self.released {
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let held = now.since(since) >= HELD_FOR && !self.told;
        self.told |= held;
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_held_for_long_enough_counts_and_once() {
        let mut hold = Hold::default();
        let mut told = Vec::new();
        for tick in 0..400_u64 {
            // Bounces, a short press, and a long one.
            let pressed = matches!(tick, 3 | 5 | 20..100 | 150..350);
            if hold.see(Mono::from_boot(TICK * u32::try_from(tick).unwrap()), pressed) {
                told.push(tick);
            }
        }
        assert_eq!(told, [250]);
        // A line that is stuck.
        let mut stuck = Hold::default();
        let at = |tick| Mono::from_boot(TICK * tick);
        assert!(!(0..1_000).any(|tick| stuck.see(at(tick), true)));
    }

    #[tokio::test]
    async fn off_a_pi_it_gives_up_softly() {
        let stop = CancellationToken::new();
        stop.cancel();
        run(17, "/nowhere".into(), stop).await;
    }
}
