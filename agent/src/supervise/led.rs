//! A status light for somebody with a ladder and no laptop: steady while pictures reach the relay, dark
//! while starting or off. Otherwise it flashes, and the number of flashes says which organ is ill: one
//! for the relay, two for the WiFi, three for the camera, four for the system (disk, memory, heat), five
//! if only a reboot is left and the budget is empty.
//!
//! `rppal` stays in this file: it works on a Raspberry Pi only, and anywhere else (or when the pin
//! is taken) the agent says so once and goes on without a light.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rppal::gpio::{Gpio, OutputPin};
use tokio_util::sync::CancellationToken;

use crate::health::Health;

/// The length of a flash, and of the dark after it.
const TICK: Duration = Duration::from_millis(200);

/// Ticks between two series of flashes.
const PAUSE: u64 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Light {
    Dark,
    Steady,
    /// So many flashes, and a pause.
    Flashes(u64),
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
        let light = choose(&health);
        pin.write(is_lit(light, tick).into());
        if stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
            break;
        }
    }
    pin.set_low();
}

fn choose(health: &Health) -> Light {
    let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
    let acknowledged = health.upload.progress.get().count > 0;
    // What costs the picture comes first.
    if is(&health.safe_mode) {
        Light::Flashes(5)
    } else if health.camera.trouble().is_some() {
        Light::Flashes(3)
    } else if is(&health.wifi_ill) {
        Light::Flashes(2)
    } else if health.upload.trouble().is_some() {
        Light::Flashes(1)
    } else if is(&health.system_ill) {
        Light::Flashes(4)
    } else if acknowledged {
        Light::Steady
    } else {
        Light::Dark
    }
}

fn is_lit(light: Light, tick: u64) -> bool {
    match light {
        Light::Dark => false,
        Light::Steady => true,
        Light::Flashes(flashes) => {
            let at = tick % (2 * flashes + PAUSE);
            at < 2 * flashes && at.is_multiple_of(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Failure;
    use crate::sensor::CameraFault;

    #[test]
    fn each_state_has_its_light() {
        let health = Health::new();
        assert_eq!(choose(&health), Light::Dark);
        health.upload.succeeded();
        assert_eq!(choose(&health), Light::Steady);
        health.system_ill.store(true, Ordering::Relaxed);
        assert_eq!(choose(&health), Light::Flashes(4));
        health.wifi_ill.store(true, Ordering::Relaxed);
        assert_eq!(choose(&health), Light::Flashes(2));
        let failure = Failure { fault: CameraFault::Gone, cause: "gone".to_owned(), errno: None };
        health.camera.failed(failure, Duration::ZERO);
        assert_eq!(choose(&health), Light::Flashes(3));
        health.safe_mode.store(true, Ordering::Relaxed);
        assert_eq!(choose(&health), Light::Flashes(5));
    }

    #[test]
    fn flashes_can_be_counted() {
        for flashes in 1..=5 {
            let series = 2 * flashes + PAUSE;
            let lit: u64 =
                (0..series * 3).map(|tick| u64::from(is_lit(Light::Flashes(flashes), tick))).sum();
            assert_eq!(lit, 3 * flashes);
        }
        assert!(!is_lit(Light::Dark, 0) && is_lit(Light::Steady, 1));
    }

    #[tokio::test]
    async fn off_a_pi_it_gives_up_softly() {
        let stop = CancellationToken::new();
        stop.cancel();
        run(17, Arc::new(Health::new()), stop).await;
    }
}
