//! The camera's power, behind a relay or a MOSFET on a GPIO pin.
//!
//! As in `led.rs`, `rppal` stays in this file, and off a Raspberry Pi it gives up softly.

use std::time::Duration;

use rppal::gpio::{Gpio, OutputPin};

use crate::config::Level;

/// Long enough for a camera's capacitors to run down.
const OFF_FOR: Duration = Duration::from_secs(3);

/// The pin, held at the level at which the camera has power.
#[derive(Debug)]
pub(super) struct Power {
    pin: OutputPin,
    on: Level,
}

impl Power {
    /// Switches the camera on, where there is a pin.
    pub(super) fn on(gpio: Option<u8>, on: Level) -> Option<Power> {
        let gpio = gpio?;
        let pin = Gpio::new().and_then(|pins| pins.get(gpio)).map(|pin| match on {
            Level::High => pin.into_output_high(),
            Level::Low => pin.into_output_low(),
        });
        let why = |error: &rppal::gpio::Error| {
            tracing::warn!(
                "camera.power_gpio: no GPIO {gpio}: {error}; the camera's power can't be switched"
            );
        };
        let mut pin = pin.inspect_err(why).ok()?;
        // The camera keeps its power while the agent is started anew.
        pin.set_reset_on_drop(false);
        Some(Power { pin, on })
    }

    /// Switches it off, and after a while on again.
    pub(super) async fn cycle(&mut self) {
        let high = self.on == Level::High;
        self.pin.write((!high).into());
        tokio::time::sleep(OFF_FOR).await;
        self.pin.write(high.into());
    }
}
