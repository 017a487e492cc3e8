//! How much of a picture is sent: as much as gets through in time. Pure: it is told what was sent,
//! how long that took, and when.
//!
//! The rate needs no decision: one frame is in flight, and the next is the newest by then. If a
//! frame still takes longer than it may, quality falls first, then size, as far as the owner allows.
//! Down soon, because every frame that is too large is late: at the second one, or at the first that
//! is far too slow, for a machine may falter once. Up one step at a time, and only
//! when that step would have fitted well for a while, so that a link that wavers does not make the
//! picture waver.

use std::time::Duration;

use ladder::Mono;

/// A step up has to fit into this part of the time that a frame may take.
const ROOM: f64 = 0.6;

/// And has to have fitted for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much one transfer says about the link: a slower one than expected more than a quicker one.
const SLOWER_WEIGHT: f64 = 0.5;
const QUICKER_WEIGHT: f64 = 0.2;

/// So many times as long as it may take is more than one bad moment.
const FAR_TOO_SLOW: u32 = 2;

/// Smaller transfers say nothing: they fit into the kernel's and the router's buffers. Two packets.
const TELLING_BYTES: usize = 3_000;

/// What one encoded frame says about how small a step makes pictures.
const RATIO_WEIGHT: f64 = 0.3;

/// How much of a picture is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Width and height are divided by this: 1, 2, 4 or 8.
    pub divisor: u8,
    /// Of the JPEG, 1 to 100; `None`: as the camera made it, untouched.
    pub quality: Option<u8>,
}

impl Step {
    const UNTOUCHED: Step = Step { divisor: 1, quality: None };
}

/// All steps, and what part of the original's bytes is to be expected of each before it was tried
/// (measured with photographs of 1280x720 at quality 85).
const STEPS: [(Step, f64); 10] = [
    (Step::UNTOUCHED, 1.0),
    (Step { divisor: 1, quality: Some(70) }, 0.65),
    (Step { divisor: 1, quality: Some(50) }, 0.45),
    (Step { divisor: 1, quality: Some(35) }, 0.35),
    (Step { divisor: 2, quality: Some(60) }, 0.18),
    (Step { divisor: 2, quality: Some(40) }, 0.13),
    (Step { divisor: 4, quality: Some(60) }, 0.06),
    (Step { divisor: 4, quality: Some(40) }, 0.045),
    (Step { divisor: 8, quality: Some(60) }, 0.02),
    (Step { divisor: 8, quality: Some(40) }, 0.015),
];

/// What the owner allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AdaptConfig {
    /// How long a frame may take to get through.
    pub transfer: Duration,
    /// Pictures are not made narrower than this, in pixels.
    pub min_width: u16,
    /// Nor worse than this.
    pub min_quality: u8,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Adapt {
    config: AdaptConfig,
    ratios: [f64; STEPS.len()],
    /// Place in [`STEPS`].
    at: usize,
    /// What the link carries, in bytes a second; `None` before anything was sent.
    rate: Option<f64>,
    /// The last one took too long.
    slow: bool,
    /// A step up would fit since then.
    fits_since: Option<Mono>,
}

impl Adapt {
    pub(super) fn new(config: AdaptConfig) -> Adapt {
        let ratios = STEPS.map(|(_, ratio)| ratio);
        Adapt { config, ratios, at: 0, rate: None, slow: false, fits_since: None }
    }

    /// How the next frame is to be sent, a picture of this width.
    pub(super) fn step(&self, width: u16) -> Step {
        let place = self.allowed(width).filter(|place| *place <= self.at).last().unwrap_or(0);
        STEPS.get(place).map_or(Step::UNTOUCHED, |(step, _)| *step)
    }

    /// What the link carries, in bytes a second.
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// How many bytes a picture would have as the camera makes it by itself, if it has `bytes` with
    /// this quality.
    pub(super) fn original_of(&self, quality: u8, bytes: usize) -> usize {
        let step = Step { divisor: 1, quality: Some(quality) };
        let place = STEPS.iter().position(|(known, _)| *known == step);
        let ratio = place.and_then(|place| self.ratios.get(place)).copied().unwrap_or(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let original = (as_f64(bytes) / ratio) as usize;
        original
    }

    /// A picture of `original` bytes came to `bytes` by this step.
    pub(super) fn encoded(&mut self, step: Step, original: usize, bytes: usize) {
        let Some(place) = STEPS.iter().position(|(known, _)| *known == step) else { return };
        if let Some(ratio) = self.ratios.get_mut(place) {
            let found = as_f64(bytes) / as_f64(original.max(1));
            *ratio += RATIO_WEIGHT * (found.clamp(0.001, 1.0) - *ratio);
        }
    }

    /// `bytes` took so long to get through, of a picture of `original` bytes and this width.
    /// Returns whether the step has changed.
    pub(super) fn sent(
        &mut self,
        now: Mono,
        bytes: usize,
        took: Duration,
        original: usize,
        width: u16,
    ) -> bool {
        let seconds = took.as_secs_f64().max(0.001);
        let sample = as_f64(bytes) / seconds;
        // A short one that was quick tells at least that the link is not slower than that.
        if bytes >= TELLING_BYTES || self.rate.is_none_or(|rate| sample > rate) {
            self.rate = Some(self.rate.map_or(sample, |rate| {
                let weight = if sample < rate { SLOWER_WEIGHT } else { QUICKER_WEIGHT };
                rate + weight * (sample - rate)
            }));
        }
        let before = self.at;
        let far_too_slow = took > self.config.transfer * FAR_TOO_SLOW;
        self.choose(now, far_too_slow, original, width);
        self.at != before
    }

    fn choose(&mut self, now: Mono, far_too_slow: bool, original: usize, width: u16) {
        let limit = self.config.transfer.as_secs_f64();
        let allowed: Vec<usize> = self.allowed(width).collect();
        let here = allowed.iter().copied().filter(|place| *place <= self.at).max().unwrap_or(0);
        if self.takes(here, original) > limit {
            self.fits_since = None;
            if !std::mem::replace(&mut self.slow, true) && !far_too_slow {
                return;
            }
            let fits =
                allowed.iter().copied().find(|p| *p > here && self.takes(*p, original) <= limit);
            self.at = fits.or(allowed.last().copied()).unwrap_or(here).max(here);
            return;
        }
        self.slow = false;
        self.at = here;
        let better = allowed.iter().copied().filter(|place| *place < here).max();
        let Some(better) = better.filter(|p| self.takes(*p, original) <= limit * ROOM) else {
            self.fits_since = None;
            return;
        };
        let since = *self.fits_since.get_or_insert(now);
        if now.since(since) >= PATIENCE {
            self.at = better;
            self.fits_since = None;
        }
    }

    /// Seconds that a picture of `original` bytes would take by a step.
    fn takes(&self, place: usize, original: usize) -> f64 {
        let ratio = self.ratios.get(place).copied().unwrap_or(1.0);
        self.rate.map_or(0.0, |rate| as_f64(original) * ratio / rate.max(1.0))
    }

    /// The places in [`STEPS`] that the owner allows for a picture of this width.
    fn allowed(&self, width: u16) -> impl Iterator<Item = usize> {
        let AdaptConfig { min_width, min_quality, .. } = self.config;
        STEPS.iter().enumerate().filter_map(move |(place, (step, _))| {
            let wide = step.divisor == 1 || width / u16::from(step.divisor) >= min_width;
            let good = step.quality.is_none_or(|quality| quality >= min_quality);
            (wide && good).then_some(place)
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a frame has few megabytes")]
fn as_f64(bytes: usize) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: AdaptConfig =
        AdaptConfig { transfer: Duration::from_millis(500), min_width: 160, min_quality: 1 };

    /// A camera, its pictures' true ratios, and a link, in simulated time.
    struct World {
        adapt: Adapt,
        now: Duration,
        original: usize,
        /// Each step's true ratio, compared with the expected one.
        factor: f64,
    }

    impl World {
        fn new(config: AdaptConfig, original: usize, factor: f64) -> World {
            let now = Duration::from_secs(100);
            World { adapt: Adapt::new(config), now, original, factor }
        }

        /// Sends one frame over a link of so many bytes a second; returns its step and how long it
        /// took.
        fn send(&mut self, rate: f64) -> (Step, Duration) {
            let step = self.adapt.step(1280);
            let expected = STEPS.iter().find(|(known, _)| *known == step).unwrap().1;
            let ratio = if step == Step::UNTOUCHED { 1.0 } else { expected * self.factor };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            let bytes = (as_f64(self.original) * ratio.min(1.0)) as usize;
            if step != Step::UNTOUCHED {
                self.adapt.encoded(step, self.original, bytes);
            }
            let took = Duration::from_secs_f64(as_f64(bytes) / rate);
            // Five frames a second at most.
            self.now += took.max(Duration::from_millis(200));
            let now = Mono::from_boot(self.now);
            self.adapt.sent(now, bytes, took, self.original, 1280);
            (step, took)
        }

        /// Sends for so long; returns the steps.
        fn run(&mut self, rate: f64, seconds: u64) -> Vec<Step> {
            let end = self.now + Duration::from_secs(seconds);
            let mut steps = Vec::new();
            while self.now < end {
                steps.push(self.send(rate).0);
            }
            steps
        }
    }

    fn changes(steps: &[Step]) -> usize {
        steps.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    #[test]
    fn a_wide_link_gets_the_picture_untouched() {
        let mut world = World::new(CONFIG, 100_000, 1.0);
        assert!(world.run(1_000_000.0, 60).iter().all(|step| *step == Step::UNTOUCHED));
    }

    #[test]
    fn at_twenty_kilobytes_a_second_frames_get_through_in_time() {
        let mut world = World::new(CONFIG, 100_000, 1.0);
        let (_, first) = world.send(20_000.0);
        assert!(first > Duration::from_secs(4), "the first one tells");
        for _ in 0..100 {
            let (step, took) = world.send(20_000.0);
            assert!(took <= CONFIG.transfer, "{step:?} {took:?}");
        }
    }

    #[test]
    fn one_bad_moment_is_none_and_two_are() {
        let mut world = World::new(CONFIG, 100_000, 1.0);
        let steps = world.run(1_000_000.0, 1);
        assert_eq!(steps.last(), Some(&Step::UNTOUCHED));
        let mut fresh = World::new(CONFIG, 100_000, 1.0);
        fresh.send(150_000.0);
        assert_eq!(fresh.adapt.step(1280), Step::UNTOUCHED, "0.67 s");
        fresh.send(150_000.0);
        assert_ne!(fresh.adapt.step(1280), Step::UNTOUCHED, "again");
        let mut fresh = World::new(CONFIG, 100_000, 1.0);
        fresh.send(50_000.0);
        assert_ne!(fresh.adapt.step(1280), Step::UNTOUCHED, "2 s");
    }

    #[test]
    fn the_owner_says_how_far() {
        let config = AdaptConfig { min_width: 640, min_quality: 50, ..CONFIG };
        let mut world = World::new(config, 100_000, 1.0);
        let steps = world.run(1_000.0, 600);
        assert_eq!(steps.last(), Some(&Step { divisor: 2, quality: Some(60) }));
        let narrow = AdaptConfig { min_width: 1280, min_quality: 100, ..CONFIG };
        let mut world = World::new(narrow, 100_000, 1.0);
        assert!(world.run(1_000.0, 600).iter().all(|step| *step == Step::UNTOUCHED));
    }

    #[test]
    fn what_was_true_of_a_larger_picture_is_asked_anew() {
        let mut world = World::new(CONFIG, 100_000, 1.0);
        world.run(5_000.0, 60);
        assert_eq!(world.adapt.step(1280).divisor, 8);
        // A picture of 320 pixels may not be made narrower than 160.
        assert_eq!(world.adapt.step(320).divisor, 2);
        assert_eq!(world.adapt.step(100).divisor, 1);
    }

    proptest! {
        #[test]
        fn it_settles_and_does_not_waver(
            // From 2 KB/s to 5 MB/s.
            exponent in 3.3_f64..6.7,
            original in 5_000_usize..2_000_000,
            factor in 0.4_f64..2.5,
        ) {
            let rate = 10_f64.powf(exponent);
            let mut world = World::new(CONFIG, original, factor);
            // While it learns how small each step makes this camera's pictures.
            world.run(rate, 300);
            let steps = world.run(rate, 600);
            prop_assert!(changes(&steps) <= 2, "{} changes of {}", changes(&steps), steps.len());
            let (step, took) = world.send(rate);
            let last = STEPS.last().unwrap().0;
            prop_assert!(took <= CONFIG.transfer || step == last, "{step:?} {took:?}");
        }

        #[test]
        fn it_recovers_slowly_and_all_the_way(
            thin in 2_000.0_f64..20_000.0,
            factor in 0.4_f64..2.5,
        ) {
            let mut world = World::new(CONFIG, 100_000, factor);
            world.run(thin, 120);
            let steps = world.run(5_000_000.0, 180);
            prop_assert_eq!(steps.last(), Some(&Step::UNTOUCHED));
            let place = |step: &Step| STEPS.iter().position(|(known, _)| known == step).unwrap();
            for pair in steps.windows(2) {
                prop_assert!(place(&pair[1]) + 1 >= place(&pair[0]), "one step at a time");
            }
        }

        #[test]
        fn a_link_that_wavers_does_not_make_the_picture_waver(seed in any::<u64>()) {
            let mut world = World::new(CONFIG, 60_000, 1.0);
            let mut random = seed | 1;
            let mut steps = Vec::new();
            for _ in 0..3_000 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                #[expect(clippy::cast_precision_loss, reason = "it is below 1000")]
                let rate = 30_000.0 + 30.0 * (random % 1_000) as f64;
                steps.push(world.send(rate).0);
            }
            // Ten minutes at five frames a second.
            prop_assert!(changes(&steps) <= 12, "{} changes", changes(&steps));
        }

        #[test]
        fn nothing_makes_it_panic(
            sent in prop::collection::vec((any::<usize>(), any::<u32>(), any::<usize>(), any::<u16>()), 1..50),
        ) {
            let mut adapt = Adapt::new(CONFIG);
            for (n, (bytes, ms, original, width)) in sent.into_iter().enumerate() {
                let now = Mono::from_boot(Duration::from_secs(n as u64));
                let step = adapt.step(width);
                adapt.encoded(step, original, bytes);
                adapt.sent(now, bytes, Duration::from_millis(ms.into()), original, width);
            }
        }
    }
}
