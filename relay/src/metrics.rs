//! What is counted, for `/metrics`: Prometheus' text format. One place for names, labels and
//! buckets; the counting itself happens where things happen.
//!
//! Ages and states are not kept here: they are computed when somebody asks, because a camera that
//! is silent changes nothing and still grows older.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use frame::CameraId;
use frame::report::{DOING, Report};
use frame::version::Version;
use ladder::Mono;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use web::freshness::State;
use web::serve::Observer;

use crate::access::Realm;
use crate::board::{Board, NotScaled, Refused};
use crate::notification::Counts;
use crate::store::{Persistence, Store};
use crate::updates::Known;

/// Seconds: from one camera interval on a good network to what nobody calls live.
const AGES: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Seconds: work on this machine.
const WORK: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How a frame leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Still,
    Mjpeg,
    WebSocket,
    Export,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Still, Kind::Mjpeg, Kind::WebSocket, Kind::Export];

    /// The label, and the word in status.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Kind::Still => "still",
            Kind::Mjpeg => "mjpeg",
            Kind::WebSocket => "websocket",
            Kind::Export => "export",
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    received: IntCounterVec,
    received_bytes: IntCounterVec,
    older: IntCounterVec,
    past: IntCounterVec,
    refused: IntCounterVec,
    received_age: HistogramVec,
    flows: Flows,
    scaled: IntCounterVec,
    frame_age: GaugeVec,
    state: IntGaugeVec,
    connections: Gauge,
    handshakes_failed: IntCounter,
    certificate_expiry: GaugeVec,
    store_works: Gauge,
    connections_refused: IntCounterVec,
    viewers_dropped: IntCounterVec,
    pub scale_refused: IntCounterVec,
    pub scale_seconds: Histogram,
    pub store_seconds: Histogram,
    agent: GaugeVec,
    history_frames: IntGaugeVec,
    history_bytes: IntGaugeVec,
    pub history_dropped: IntCounter,
    pub export_failed: IntCounter,
    pub bucket: BucketCounts,
    pub guesses: Guesses,
    pub updates: UpdateCounts,
    update_state: IntGaugeVec,
    update_percent: IntGaugeVec,
    system: IntGaugeVec,
    updates_published: IntGauge,
    updates_paused: IntGauge,
    updates_works: IntGauge,
    notifications: IntCounterVec,
    notify_works: IntGaugeVec,
    max_connections: IntGauge,
    pub cluster: ClusterMetrics,
}

/// Uploads to a bucket.
#[derive(Debug, Clone)]
pub(crate) struct BucketCounts {
    pub stored: IntCounter,
    pub failed: IntCounter,
    pub bytes: IntCounter,
}

/// What happens with updates.
#[derive(Debug, Clone)]
pub(crate) struct UpdateCounts {
    /// Of now.
    pub downloading: IntGauge,
    /// By how they ended.
    pub downloads: IntCounterVec,
    pub sent_bytes: IntCounter,
    pub rejected: IntCounter,
}

/// Wrong passwords.
#[derive(Debug, Clone)]
pub(crate) struct Guesses {
    /// By what they were for, and what came of them.
    pub guesses: IntCounterVec,
    /// Addresses of now that guess faster than is allowed, by what for.
    pub throttled: IntGaugeVec,
}

/// What goes between this relay and the others. There without a cluster, too, and stays at 0.
#[derive(Debug, Clone)]
pub(crate) struct ClusterMetrics {
    /// Without labels, but not there without a cluster.
    pub works: IntGaugeVec,
    /// By outcome.
    pub published: IntCounterVec,
    pub published_bytes: IntCounter,
    /// From the board to the bus's acknowledgement.
    pub publish_seconds: Histogram,
    pub heads: IntCounter,
    pub redelivered: IntCounter,
    /// By outcome.
    pub fetched: IntCounterVec,
    pub fetched_bytes: IntCounter,
    pub fetch_seconds: Histogram,
    /// From the arrival at the relay that took it to being shown here, by both clocks.
    pub added_age: Histogram,
    pub reconnects: IntCounter,
    pub relays: IntGauge,
    /// By relay.
    pub clock_offset: GaugeVec,
}

/// What becomes of frames for the bus.
const PUBLISHED: [&str; 5] = ["published", "replaced", "older", "oversized", "failed"];

/// And of those that are fetched.
const FETCHED: [&str; 4] = ["shown", "older", "refused", "failed"];

/// What comes of them.
const GUESSES: [&str; 3] = ["wrong", "late", "throttled"];

/// How downloads end.
const DOWNLOADS: [&str; 4] = ["done", "cut", "too_slow", "busy"];

/// While no update is under way.
const NO_UPDATE: &str = "none";

/// Refused uploads by reason.
#[derive(Debug)]
pub(crate) struct Refusals(pub Vec<(Refused, IntCounter)>);

/// The handles of one camera.
#[derive(Debug)]
pub(crate) struct CameraMetrics {
    pub accepted: IntCounter,
    pub bytes: IntCounter,
    pub older: IntCounter,
    /// Frames of the past.
    pub past: IntCounter,
    pub refused: Refusals,
    pub received_age: Histogram,
    pub scaled: IntCounter,
    /// Viewers whose connection was ended, by kind and reason.
    pub dropped: IntCounterVec,
    id: CameraId,
    flows: Flows,
    /// In the order of [`Kind::ALL`]; made when somebody first looks in that way, because they take more memory than all
    /// the rest of a camera that nobody looks at.
    outflows: [OnceLock<Outflow>; Kind::ALL.len()],
}

impl CameraMetrics {
    /// What leaves it in this way.
    pub(crate) fn out(&self, kind: Kind) -> &Outflow {
        static NONE: OnceLock<Outflow> = OnceLock::new();
        let place = Kind::ALL.iter().position(|one| *one == kind);
        let cell = place.and_then(|place| self.outflows.get(place)).unwrap_or(&NONE);
        cell.get_or_init(|| self.flows.of(&self.id, kind))
    }

    /// The same, if anything ever has.
    pub(crate) fn out_so_far(&self, kind: Kind) -> Option<&Outflow> {
        let place = Kind::ALL.iter().position(|one| *one == kind)?;
        self.outflows.get(place)?.get()
    }
}

/// What outflows are made of.
#[derive(Debug, Clone)]
struct Flows {
    sent: IntCounterVec,
    sent_bytes: IntCounterVec,
    skipped: IntCounterVec,
    sent_age: HistogramVec,
    viewers: IntGaugeVec,
}

impl Flows {
    fn of(&self, id: &CameraId, kind: Kind) -> Outflow {
        let labels = &[id.as_str(), kind.word()];
        Outflow {
            frames: self.sent.with_label_values(labels),
            bytes: self.sent_bytes.with_label_values(labels),
            skipped: self.skipped.with_label_values(labels),
            age: self.sent_age.with_label_values(labels),
            viewers: self.viewers.with_label_values(labels),
        }
    }
}

/// What leaves one camera in one way.
#[derive(Debug, Clone)]
pub(crate) struct Outflow {
    pub frames: IntCounter,
    pub bytes: IntCounter,
    /// Frames that a viewer did not get because it had not taken the one before.
    pub skipped: IntCounter,
    pub age: Histogram,
    pub viewers: IntGauge,
}

impl Outflow {
    /// A frame is handed to a viewer.
    pub(crate) fn sent(&self, bytes: usize, age: Duration) {
        self.frames.inc();
        self.bytes.inc_by(bytes as u64);
        self.age.observe(age.as_secs_f64());
    }

    /// Counts a viewer for as long as the returned guard lives.
    pub(crate) fn watched(&self) -> Watching {
        self.viewers.inc();
        Watching(self.viewers.clone())
    }
}

/// See [`Outflow::watched`].
#[derive(Debug)]
pub(crate) struct Watching(IntGauge);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// # Errors
    /// Never with the names below; the tests show it.
    #[expect(clippy::too_many_lines, reason = "a table of names")]
    pub(crate) fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let by = Register { registry: &registry };
        let (camera, kind) = ("camera", "kind");
        let uploads = by.counters(
            "bucket_uploads",
            "Uploads to the bucket, by how they ended",
            &["outcome"],
        )?;
        let metrics = Metrics {
            received: by.counters("frames_received", "Frames that were accepted", &[camera])?,
            received_bytes: by.counters("received_bytes", "Bytes of accepted frames", &[camera])?,
            older: by.counters(
                "frames_older",
                "Uploads that were acknowledged and dropped: older than the frame held",
                &[camera],
            )?,
            past: by.counters(
                "frames_past_received",
                "Frames of the past that were accepted, from while the camera was offline",
                &[camera],
            )?,
            refused: by.counters(
                "uploads_refused",
                "Uploads that were refused; without a camera: for cameras that do not exist",
                &[camera, "reason"],
            )?,
            received_age: by.histograms(
                "received_age_seconds",
                "Age of a frame when it arrived; only frames with the camera's own time",
                &[camera],
                AGES,
            )?,
            flows: Flows {
                sent: by.counters(
                    "frames_sent",
                    "Frames that were handed to viewers",
                    &[camera, kind],
                )?,
                sent_bytes: by.counters("sent_bytes", "Bytes of frames sent", &[camera, kind])?,
                skipped: by.counters(
                    "frames_skipped",
                    "Frames a viewer did not get because it had not taken the one before",
                    &[camera, kind],
                )?,
                sent_age: by.histograms(
                    "sent_age_seconds",
                    "Age of a frame when it was sent",
                    &[camera, kind],
                    AGES,
                )?,
                viewers: by.gauges("viewers", "Viewers of a stream", &[camera, kind])?,
            },
            scaled: by.counters("scaled", "Scaled pictures made", &[camera])?,
            frame_age: by.ages("frame_age_seconds", "Age of the newest frame", &[camera])?,
            state: by.gauges(
                "camera_state",
                "1 for the state the camera is in",
                &[camera, "state"],
            )?,
            connections: by.gauge("connections", "Open connections")?,
            handshakes_failed: by
                .counter("tls_handshakes_failed", "Connections that did not get as far as HTTPS")?,
            // Without labels, but not there without HTTPS.
            certificate_expiry: by.ages(
                "certificate_expiry_seconds",
                "Until when the certificate of HTTPS is valid, in seconds since the Unix epoch",
                &[],
            )?,
            store_works: by.gauge("store_works", "1 while frames are kept on disk, else 0")?,
            connections_refused: by.counters(
                "connections_refused",
                "Connections refused, by limit",
                &["reason"],
            )?,
            viewers_dropped: by.counters(
                "viewers_dropped",
                "Viewers whose connection was ended, by reason",
                &[kind, "reason"],
            )?,
            scale_refused: by.counters("scale_refused", "Sizes that were refused", &["reason"])?,
            scale_seconds: by.histogram("scale_seconds", "Time to make a scaled picture")?,
            store_seconds: by.histogram("store_write_seconds", "Time to write to the database")?,
            agent: by.ages(
                "agent",
                "What an agent said last of its machine; see docs/protocol.md",
                &[camera, "value"],
            )?,
            history_frames: by.gauges("history_frames", "Frames in the history", &[camera])?,
            history_bytes: by.gauges("history_bytes", "Their bytes", &[camera])?,
            history_dropped: by.counter(
                "history_dropped",
                "Frames that did not get into the history because the disk is too slow",
            )?,
            export_failed: by.counter("export_failed", "Exports that failed")?,
            bucket: BucketCounts {
                stored: uploads.with_label_values(&["stored"]),
                failed: uploads.with_label_values(&["failed"]),
                bytes: by.counter("bucket_bytes", "Bytes stored in the bucket")?,
            },
            guesses: Guesses {
                guesses: by.counters(
                    "password_guesses",
                    "Wrong passwords and links: compared; compared and answered late; not compared",
                    &["what", "outcome"],
                )?,
                throttled: by.gauges(
                    "password_guessing_addresses",
                    "Addresses that guess faster than is allowed",
                    &["what"],
                )?,
            },
            updates: UpdateCounts {
                downloading: by.whole("update_downloads", "Updates being downloaded now")?,
                downloads: by.counters(
                    "update_downloads_ended",
                    "Downloads of updates, by how they ended",
                    &["outcome"],
                )?,
                sent_bytes: by.counter("update_sent_bytes", "Bytes of updates sent")?,
                rejected: by.counter(
                    "updates_rejected",
                    "Times that a camera did not keep an update that is published here",
                )?,
            },
            update_state: by.gauges(
                "update_state",
                "1 for what the camera's update is doing",
                &[camera, "state"],
            )?,
            update_percent: by.gauges(
                "update_percent",
                "How far the camera's update is with that; only while it says so",
                &[camera],
            )?,
            system: by.gauges(
                "system_info",
                "1 for the version of the camera's system and the slot it runs from",
                &[camera, "version", "slot"],
            )?,
            updates_published: by.whole("updates_published", "Updates that are published")?,
            updates_paused: by.whole("updates_paused", "Those of them that are paused")?,
            updates_works: by
                .whole("updates_works", "1 while the lists of updates can be read, else 0")?,
            notifications: by.counters(
                "notifications",
                "Notifications, by how they ended; dropped: replaced by newer ones, or too old",
                &["channel", "outcome"],
            )?,
            notify_works: by.gauges(
                "notify_works",
                "1 while notifications are delivered, else 0",
                &["channel"],
            )?,
            max_connections: by.whole("max_connections", "Most open connections")?,
            cluster: ClusterMetrics::new(&by)?,
            registry,
        };
        // Or else the first one of each would be no increase for Prometheus.
        for reason in ["total", "address"] {
            metrics.connections_refused.with_label_values(&[reason]);
        }
        for why in [NotScaled::TooManySizes, NotScaled::Busy, NotScaled::Impossible] {
            metrics.scale_refused.with_label_values(&[why.word()]);
        }
        for kind in [Kind::Mjpeg, Kind::WebSocket] {
            metrics.viewers_dropped.with_label_values(&[kind.word(), "stalled"]);
        }
        for what in Realm::ALL.map(Realm::word) {
            metrics.guesses.throttled.with_label_values(&[what]);
            for outcome in GUESSES {
                metrics.guesses.guesses.with_label_values(&[what, outcome]);
            }
        }
        for (outcomes, counters) in [
            (PUBLISHED.as_slice(), &metrics.cluster.published),
            (&FETCHED, &metrics.cluster.fetched),
        ] {
            for outcome in outcomes {
                counters.with_label_values(&[*outcome]);
            }
        }
        for outcome in DOWNLOADS {
            metrics.updates.downloads.with_label_values(&[outcome]);
        }
        metrics.stalled_connections();
        Ok(metrics)
    }

    /// What is counted of notifications on one channel.
    pub(crate) fn notifications(&self, channel: &str) -> Counts {
        let works = self.notify_works.with_label_values(&[channel]);
        Counts { outcomes: self.notifications.clone(), works }
    }

    /// What happens to connections is counted, of which there may be `max`.
    pub(crate) fn connections_observer(&self, max: usize) -> Arc<dyn Observer> {
        self.max_connections.set(i64::try_from(max).unwrap_or(i64::MAX));
        let (refused, stalled) = (self.connections_refused.clone(), self.stalled_connections());
        let failed = self.handshakes_failed.clone();
        Arc::new(ConnectionCounts { refused, stalled, failed })
    }

    /// Connections whose peer took nothing of an answer, whatever it was.
    fn stalled_connections(&self) -> IntCounter {
        self.viewers_dropped.with_label_values(&["connection", "stalled"])
    }

    /// Refused uploads for a camera; without an id for those that don't exist.
    pub(crate) fn refusals(&self, id: Option<&CameraId>) -> Refusals {
        let id = id.map(CameraId::as_str).unwrap_or_default();
        let counter = |why: Refused| (why, self.refused.with_label_values(&[id, why.word()]));
        Refusals(Refused::ALL.into_iter().map(counter).collect())
    }

    /// A camera's handles.
    pub(crate) fn camera(&self, camera: &CameraId) -> CameraMetrics {
        let id = camera.as_str();
        let labels = &[id];
        CameraMetrics {
            accepted: self.received.with_label_values(labels),
            bytes: self.received_bytes.with_label_values(labels),
            older: self.older.with_label_values(labels),
            past: self.past.with_label_values(labels),
            refused: self.refusals(Some(camera)),
            received_age: self.received_age.with_label_values(labels),
            scaled: self.scaled.with_label_values(labels),
            dropped: self.viewers_dropped.clone(),
            id: camera.clone(),
            flows: self.flows.clone(),
            outflows: Default::default(),
        }
    }

    /// Everything as text, with the ages and states of this moment.
    pub(crate) fn text(
        &self,
        board: &Board,
        now: Mono,
        connections: usize,
        certificate_until: Option<i64>,
        store: &Store,
        known: &Known,
    ) -> Vec<u8> {
        let usages = store.usages();
        // Versions come and go: only those of this moment.
        self.system.reset();
        self.update_percent.reset();
        let gauge = |of: u64| i64::try_from(of).unwrap_or(i64::MAX);
        for camera in board.all() {
            let id = camera.id.as_str();
            let usage = usages.get(&camera.id).copied().unwrap_or_default();
            self.history_frames.with_label_values(&[id]).set(gauge(usage.frames));
            self.history_bytes.with_label_values(&[id]).set(gauge(usage.bytes));
            let is = camera.state(now);
            for state in State::ALL {
                let labels = &[id, state.word()];
                self.state.with_label_values(labels).set(i64::from(state == is));
            }
            if let Some((report, at)) = camera.report() {
                self.update_of(id, &report);
                let age = now.since(at).as_secs_f64();
                for (name, value) in
                    said(&report).into_iter().chain([("report_age_seconds", Some(age))])
                {
                    if let Some(value) = value {
                        self.agent.with_label_values(&[id, name]).set(value);
                    }
                }
            }
            if let Some(newest) = camera.latest(now) {
                self.frame_age.with_label_values(&[id]).set(newest.age.as_secs_f64());
            }
        }
        self.updates(known);
        self.connections.set(u32::try_from(connections).unwrap_or(u32::MAX).into());
        // Seconds of this age are far below what a float holds.
        if let Some(until) = certificate_until.and_then(|until| u32::try_from(until).ok()) {
            self.certificate_expiry.with_label_values::<&str>(&[]).set(until.into());
        }
        let keeps = store.persistence() == Persistence::Works;
        self.store_works.set(f64::from(u8::from(keeps)));
        let mut text = Vec::new();
        // A Vec takes everything, and the names were checked at the start.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }

    fn updates(&self, known: &Known) {
        let count = |of: usize| i64::try_from(of).unwrap_or(i64::MAX);
        let published = &known.index.published;
        let paused = published.iter().filter(|update| update.paused.is_some()).count();
        self.updates_published.set(count(published.len()));
        self.updates_paused.set(count(paused));
        self.updates_works.set(i64::from(known.read && known.problem.is_none()));
    }

    /// What a camera says of its system. Labels are only what can't be anything.
    fn update_of(&self, id: &str, report: &Report) {
        let Some(version) = report.system.as_ref().and_then(|s| s.parse::<Version>().ok()) else {
            return;
        };
        let slot = report.slot.as_deref().filter(|slot| matches!(*slot, "A" | "B"));
        let (version, slot) = (version.to_string(), slot.unwrap_or_default());
        self.system.with_label_values(&[id, version.as_str(), slot]).set(1);
        let doing = report.update.as_ref().map_or(NO_UPDATE, |update| update.doing.as_str());
        for state in DOING.into_iter().chain([NO_UPDATE]) {
            self.update_state.with_label_values(&[id, state]).set(i64::from(state == doing));
        }
        if let Some(percent) = report.update.as_ref().and_then(|update| update.percent) {
            self.update_percent.with_label_values(&[id]).set(i64::from(percent));
        }
    }
}

/// The numbers of a report. What is missing keeps the value it had: the report's age says how old.
fn said(report: &Report) -> [(&'static str, Option<f64>); 8] {
    let yes = |is: Option<bool>| is.map(|is| f64::from(u8::from(is)));
    let count = |of: Option<u64>| of.map(|of| f64::from(u32::try_from(of).unwrap_or(u32::MAX)));
    [
        ("temperature_celsius", report.temperature_c.map(f64::from)),
        ("wifi_dbm", report.wifi_dbm.map(f64::from)),
        ("wifi_mbps", report.wifi_mbps.map(f64::from)),
        ("undervoltage", yes(report.undervoltage)),
        ("throttled", yes(report.throttled)),
        ("uplink_bytes_per_second", count(report.uplink_rate)),
        ("upload_failures", count(report.upload_failures)),
        ("waiting_frames", count(report.waiting)),
    ]
}

impl ClusterMetrics {
    fn new(by: &Register<'_>) -> Made<ClusterMetrics> {
        Ok(ClusterMetrics {
            works: by.gauges("cluster_works", "1 while frames are shared by the bus, else 0", &[])?,
            published: by.counters(
                "cluster_published",
                "Frames that were uploaded here, by what became of them on their way to the bus; older: it had a newer one",
                &["outcome"],
            )?,
            published_bytes: by.counter("cluster_published_bytes", "Their bytes")?,
            publish_seconds: by.histogram(
                "cluster_publish_seconds",
                "From the arrival of a frame to its acknowledgement by the bus",
            )?,
            heads: by.counter("cluster_heads", "Announcements of frames, of all relays")?,
            redelivered: by
                .counter("cluster_redelivered", "Announcements that were older than one before")?,
            fetched: by.counters(
                "cluster_fetched",
                "Pictures that were fetched from the bus because somebody watches, by what became of them",
                &["outcome"],
            )?,
            fetched_bytes: by.counter("cluster_fetched_bytes", "Their bytes")?,
            fetch_seconds: by.histogram("cluster_fetch_seconds", "Time to fetch one")?,
            added_age: by.histogram(
                "cluster_added_age_seconds",
                "From a frame's arrival at the relay that took it to its being shown here, by both clocks",
            )?,
            reconnects: by.counter("cluster_reconnects", "Connections to the bus that ended")?,
            relays: by.whole("cluster_relays", "Other relays that are heard")?,
            clock_offset: by.ages(
                "cluster_clock_offset_seconds",
                "By how much another relay's clock is ahead of this one's",
                &["relay"],
            )?,
        })
    }
}

/// Makes metrics that are registered.
struct Register<'a> {
    registry: &'a Registry,
}

type Made<T> = Result<T, prometheus::Error>;

impl Register<'_> {
    fn register<T: Collector + Clone + 'static>(&self, metric: T) -> Made<T> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Made<IntCounterVec> {
        let name = format!("stillwatch_{name}_total");
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn counter(&self, name: &str, help: &str) -> Made<IntCounter> {
        self.register(IntCounter::new(format!("stillwatch_{name}_total"), help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Made<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(format!("stillwatch_{name}"), help), labels)?)
    }

    fn ages(&self, name: &str, help: &str, labels: &[&str]) -> Made<GaugeVec> {
        let opts = Opts::new(format!("stillwatch_{name}"), help);
        self.register(GaugeVec::new(opts, labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Made<Gauge> {
        self.register(Gauge::new(format!("stillwatch_{name}"), help)?)
    }

    fn whole(&self, name: &str, help: &str) -> Made<IntGauge> {
        self.register(IntGauge::new(format!("stillwatch_{name}"), help)?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        at: &[f64],
    ) -> Made<HistogramVec> {
        let opts = HistogramOpts::new(format!("stillwatch_{name}"), help).buckets(at.to_vec());
        self.register(HistogramVec::new(opts, labels)?)
    }

    fn histogram(&self, name: &str, help: &str) -> Made<Histogram> {
        let opts = HistogramOpts::new(format!("stillwatch_{name}"), help).buckets(WORK.to_vec());
        self.register(Histogram::with_opts(opts)?)
    }
}

/// The accept loop's counters.
#[derive(Debug)]
struct ConnectionCounts {
    refused: IntCounterVec,
    stalled: IntCounter,
    failed: IntCounter,
}

impl Observer for ConnectionCounts {
    fn refused(&self, limit: &'static str) {
        self.refused.with_label_values(&[limit]).inc();
    }

    fn stalled(&self) {
        self.stalled.inc();
    }

    fn handshake_failed(&self) {
        self.failed.inc();
    }
}
