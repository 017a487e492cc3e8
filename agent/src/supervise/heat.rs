//! How many pictures an overheating processor may take. Pure.

use std::time::Duration;

use ladder::Mono;

/// Below the limit by this much it is cool again.
const HYSTERESIS_C: f32 = 8.0;

/// A processor warms and cools slowly: between two changes it gets this long.
const SETTLES: Duration = Duration::from_secs(60);

/// The most that the rate is divided by.
const MAX_DIVISOR: u32 = 8;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Heat {
    /// In °C. A Raspberry Pi slows its processor down from 80 °C on, and more at 85 °C (Raspberry Pi's
    /// documentation, "Frequency management and thermal control").
    limit_c: f32,
    divisor: u32,
    changed: Option<Mono>,
}

impl Heat {
    pub(super) fn new(limit_c: f32) -> Heat {
        Heat { limit_c, divisor: 1, changed: None }
    }

    /// Takes the temperature. Returns what the rate is to be divided by, if that has changed.
    pub(super) fn see(&mut self, now: Mono, temperature_c: f32) -> Option<u32> {
        if self.changed.is_some_and(|changed| now.since(changed) < SETTLES) {
            return None;
        }
        let divisor = if temperature_c >= self.limit_c {
            (self.divisor * 2).min(MAX_DIVISOR)
        } else if temperature_c <= self.limit_c - HYSTERESIS_C {
            (self.divisor / 2).max(1)
        } else {
            self.divisor
        };
        if divisor == self.divisor {
            return None;
        }
        (self.divisor, self.changed) = (divisor, Some(now));
        Some(divisor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_slows_down_step_by_step_and_comes_back() {
        let mut heat = Heat::new(80.0);
        let mut changes = Vec::new();
        for second in 0..1_000_u64 {
            // Hot for ten minutes, then cool.
            let celsius = if second < 600 { 83.0 } else { 70.0 };
            let now = Mono::from_boot(Duration::from_secs(second));
            changes.extend(heat.see(now, celsius).map(|divisor| (second, divisor)));
        }
        assert_eq!(changes, [(0, 2), (60, 4), (120, 8), (600, 4), (660, 2), (720, 1)]);
    }

    #[test]
    fn around_the_limit_it_does_not_waver() {
        let mut heat = Heat::new(80.0);
        let mut changes = 0;
        for second in 0..3_600_u64 {
            let celsius = if second % 120 < 60 { 80.5 } else { 75.0 };
            let now = Mono::from_boot(Duration::from_secs(second));
            changes += u32::from(heat.see(now, celsius).is_some());
        }
        assert!(changes <= 3, "{changes}");
    }
}
