//! Which frame of the history is given up next. Pure.
//!
//! By age, and by the bytes of all cameras together: then the camera that holds the most gives up
//! its oldest, so that one with large pictures pushes out nobody else's.

use std::collections::BTreeMap;
use std::time::Duration;

use frame::CameraId;

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HistoryLimits {
    /// Of each camera, one frame in so long.
    pub interval: Duration,
    pub max_age: Duration,
    /// Of all cameras together; 0: no history is kept.
    pub max_bytes: u64,
}

impl HistoryLimits {
    /// The interval in µs; at least 1.
    pub(crate) fn interval_us(&self) -> i64 {
        i64::try_from(self.interval.as_micros()).unwrap_or(i64::MAX).max(1)
    }

    /// The part of time that a frame stands for, which holds one: from, and up to, in µs since the
    /// Unix epoch.
    pub(crate) fn place(&self, unix_us: i64) -> (i64, i64) {
        let interval = self.interval_us();
        let from = unix_us.div_euclid(interval).saturating_mul(interval);
        (from, from.saturating_add(interval))
    }
}

/// What one camera holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub frames: u64,
    pub bytes: u64,
    /// Capture times, µs since the Unix epoch.
    pub oldest_us: i64,
    pub newest_us: i64,
}

/// Whose oldest frame goes next; `None` if all may stay.
pub(super) fn victim<'a>(
    usage: &'a BTreeMap<CameraId, Usage>,
    limits: &HistoryLimits,
    now_us: i64,
    synchronised: bool,
) -> Option<&'a CameraId> {
    // Nobody vouches for this clock: one that ran years ahead would have all of it thrown away.
    let newest = usage.values().map(|held| held.newest_us).max()?;
    let now_us = if synchronised { now_us } else { now_us.min(newest) };
    let max_age = i64::try_from(limits.max_age.as_micros()).unwrap_or(i64::MAX);
    let expired = now_us.saturating_sub(max_age);
    let too_old = usage.iter().find(|(_, held)| held.frames > 0 && held.oldest_us < expired);
    if let Some((camera, _)) = too_old {
        return Some(camera);
    }
    let total: u64 = usage.values().map(|held| held.bytes).sum();
    if total <= limits.max_bytes {
        return None;
    }
    usage.iter().max_by_key(|(_, held)| held.bytes).map(|(camera, _)| camera)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const NOW: i64 = 1_700_000_000 * SECOND;

    fn limits(max_age_s: u64, max_bytes: u64) -> HistoryLimits {
        let interval = Duration::from_secs(10);
        HistoryLimits { interval, max_age: Duration::from_secs(max_age_s), max_bytes }
    }

    fn id(name: &str) -> CameraId {
        name.parse().unwrap()
    }

    fn held(oldest_s: i64, newest_s: i64, bytes: u64) -> Usage {
        let at = |s: i64| NOW - s * SECOND;
        Usage { frames: 2, bytes, oldest_us: at(oldest_s), newest_us: at(newest_s) }
    }

    #[test]
    fn age_comes_first_then_the_largest() {
        let usage = BTreeMap::from([(id("a"), held(50, 0, 10)), (id("b"), held(200, 0, 90))]);
        for (max_age, max_bytes, found) in [
            (1_000, 100, None),
            (100, 100, Some("b")),
            (40, 100, Some("a")),
            (1_000, 99, Some("b")),
        ] {
            let found = found.map(id);
            let limits = limits(max_age, max_bytes);
            assert_eq!(victim(&usage, &limits, NOW, true), found.as_ref(), "{max_age} {max_bytes}");
        }
        assert_eq!(victim(&BTreeMap::new(), &limits(0, 0), NOW, true), None);
    }

    #[test]
    fn a_clock_nobody_set_throws_nothing_away() {
        let usage = BTreeMap::from([(id("a"), held(50, 0, 10))]);
        let (far_ahead, limits) = (NOW * 2, limits(100, 100));
        assert_eq!(victim(&usage, &limits, far_ahead, false), None);
        assert_eq!(victim(&usage, &limits, 0, false), None);
        assert_eq!(victim(&usage, &limits, far_ahead, true), Some(&id("a")));
    }

    #[test]
    fn a_place_holds_its_time() {
        let limits = limits(1, 1);
        assert_eq!(limits.place(NOW), (NOW, NOW + 10 * SECOND));
        assert_eq!(limits.place(NOW + 10 * SECOND - 1), (NOW, NOW + 10 * SECOND));
        assert_eq!(limits.place(-1), (-10 * SECOND, 0));
        for us in [i64::MIN, i64::MAX] {
            let _ = limits.place(us);
        }
    }

    proptest! {
        /// Frames of any cameras, in any order and size: what is kept is within the limits.
        #[test]
        fn it_ends_within_the_limits(
            frames in prop::collection::vec((0_u8..4, 0_i64..100, 1_u64..1_000), 1..200),
            max_bytes in 0_u64..20_000,
            max_age_s in 1_u64..100,
        ) {
            let mut all: BTreeMap<CameraId, Vec<(i64, u64)>> = BTreeMap::new();
            for (camera, age_s, bytes) in frames {
                let list = all.entry(id(&format!("c{camera}"))).or_default();
                list.push((NOW - age_s * SECOND, bytes));
                list.sort_unstable();
            }
            let usage = |all: &BTreeMap<CameraId, Vec<(i64, u64)>>| {
                all.iter().filter(|(_, list)| !list.is_empty()).map(|(camera, list)| {
                    let bytes = list.iter().map(|(_, bytes)| bytes).sum();
                    let (oldest_us, newest_us) = (list[0].0, list[list.len() - 1].0);
                    (camera.clone(), Usage { frames: list.len() as u64, bytes, oldest_us, newest_us })
                }).collect::<BTreeMap<_, _>>()
            };
            let limits = limits(max_age_s, max_bytes);
            while let Some(camera) = victim(&usage(&all), &limits, NOW, true).cloned() {
                all.get_mut(&camera).unwrap().remove(0);
            }
            let left = usage(&all);
            prop_assert!(left.values().map(|held| held.bytes).sum::<u64>() <= max_bytes);
            let oldest = NOW - i64::try_from(max_age_s).unwrap() * SECOND;
            prop_assert!(left.values().all(|held| held.oldest_us >= oldest));
        }
    }
}
