//! A status light for somebody with a ladder and no laptop: steady while pictures reach the relay,
//! slow blinking without network, fast blinking without camera, dark while starting or off.
//!
//! `rppal` stays in this file: it works on a Raspberry Pi only, and anywhere else (or when the pin
//! is taken) the agent says so once and goes on without a light.

use std::sync::Arc;
use std::time::Duration;

use rppal::gpio::{Gpio, OutputPin};
use runtime::clock;
use tokio_util::sync::CancellationToken;

use crate::health::Health;

/// The half period of the fast blinking, and so the light's clock.
const TICK: Duration = Duration::from_millis(100);

/// Ticks of the slow blinking's half period: 1 s of it.
const SLOW_TICKS: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Light {
    Dark,
    Steady,
    SlowBlink,
    FastBlink,
}

/// Shows the health on pin `gpio` (BCM number) until `stop`.
pub(crate) async fn run(gpio: u8, health: Arc<Health>, stop: CancellationToken) {
    let pin = Gpio::new().and_then(|pins| pins.get(gpio)).map(|pin| pin.into_output_low());
    let mut pin: OutputPin = match pin {
        Ok(pin) => pin,
        Err(error) => {
            tracing::warn!("no status light on GPIO {gpio} (led.gpio): {error}; going on without");
            return stop.cancelled().await;
        }
    };
    for tick in 0_u64.. {
        let acknowledged = health.upload.progress.get().age(clock::mono());
        let (camera, upload) = (health.camera.trouble(), health.upload.trouble());
        let light = choose(camera.is_some(), upload.is_some(), acknowledged.is_some());
        pin.write(is_lit(light, tick).into());
        if stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
            break;
        }
    }
    pin.set_low();
}

fn choose(camera_trouble: bool, upload_trouble: bool, acknowledged: bool) -> Light {
    match (camera_trouble, upload_trouble, acknowledged) {
        (true, _, _) => Light::FastBlink,
        (false, true, _) => Light::SlowBlink,
        (false, false, true) => Light::Steady,
        (false, false, false) => Light::Dark,
    }
}

fn is_lit(light: Light, tick: u64) -> bool {
    match light {
        Light::Dark => false,
        Light::Steady => true,
        Light::SlowBlink => (tick / SLOW_TICKS).is_multiple_of(2),
        Light::FastBlink => tick.is_multiple_of(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_light() {
        assert_eq!(choose(false, false, false), Light::Dark);
        assert_eq!(choose(false, false, true), Light::Steady);
        assert_eq!(choose(false, true, true), Light::SlowBlink);
        assert_eq!(choose(true, true, true), Light::FastBlink);
        let changes =
            |light| (1..100).filter(|t| is_lit(light, *t) != is_lit(light, t - 1)).count();
        assert_eq!(changes(Light::Steady), 0);
        assert_eq!(changes(Light::SlowBlink), 9);
        assert_eq!(changes(Light::FastBlink), 99);
    }

    #[tokio::test]
    async fn off_a_pi_it_gives_up_softly() {
        let stop = CancellationToken::new();
        stop.cancel();
        run(17, Arc::new(Health::new()), stop).await;
    }
}
