//! The export as objects in a bucket of an S3-compatible storage, for a CDN that serves thousands from it. Every object
//! says what it is, how long it may be kept, and when the picture was taken.
//!
//! What is uploaded when is decided in `pace.rs`. No upload lasts for longer than a deadline; a picture is held while it is
//! under way, and nowhere else.

mod pace;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frame::{CameraId, wire};
use futures_util::stream::{FuturesUnordered, StreamExt};
use ladder::{Episode, Mono};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, ObjectStore, ObjectStoreExt, PutOptions, RetryConfig,
};
use runtime::clock;
use runtime::event::{About, Event};
use runtime::secret::Secret;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{
    ExportStatus, LINE_SPACING, MAX_ENTRIES, ORGAN, Place, STATUS, file_name, folder, shown, whose,
};
use crate::board::{Camera, Held, Size};
use crate::client;
use crate::metrics::{BucketCounts, Kind};
use crate::routes::Site;
use crate::status;
use pace::{Ended, Pace};

/// An upload that takes longer is given up.
const UPLOAD_WITHIN: Duration = Duration::from_secs(10);

/// The same for removing what is private, once after the start.
const REMOVE_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked what is new.
const LOOK: Duration = Duration::from_millis(200);

/// More of what a storage answered is not repeated.
const MAX_REASON: usize = 300;

/// Where to, and what.
#[derive(Debug, Clone)]
pub(crate) struct BucketConfig {
    pub bucket: String,
    /// The storage's address; `None`: Amazon's in this region.
    pub endpoint: Option<String>,
    pub region: String,
    pub access_key: String,
    pub secret: Secret,
    pub sizes: Vec<Size>,
    /// Least time between two uploads of one object.
    pub interval: Duration,
}

/// What an object is made of.
#[derive(Clone)]
enum Content {
    Picture(Arc<Camera>, Arc<Held>, Option<Size>),
    Status,
    /// No object: removing those of cameras that are private by now.
    Removal,
}

/// What the removal is called among the objects: nothing that is uploaded has an empty name.
const REMOVAL: &str = "";

/// Why it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Away,
    Refused,
    NoBucket,
    Slow,
}

#[derive(Debug)]
struct Trouble {
    why: Why,
    what: String,
}

type Upload = Pin<Box<dyn Future<Output = (String, u64, Result<Ended, Trouble>)> + Send>>;

struct Export {
    site: Arc<Site>,
    store: Arc<AmazonS3>,
    config: Arc<BucketConfig>,
    counts: BucketCounts,
    status: ExportStatus,
    trouble: Episode<Why>,
    pace: Pace,
    removed: bool,
}

/// Runs until `stop`.
pub(crate) async fn run(
    site: Arc<Site>,
    config: BucketConfig,
    status: ExportStatus,
    stop: CancellationToken,
) {
    let store = match open(&config) {
        Ok(store) => Arc::new(store),
        Err(error) => {
            let line = format!("{}: {error}", address(&config));
            tracing::error!("nothing is exported there: {line}");
            status.set(Place::Bucket, Some(line));
            return stop.cancelled().await;
        }
    };
    let pace = Pace::new(config.interval, clock::wall_us().unsigned_abs());
    // Without any, nothing has to be looked for.
    let removed = !site.access.has_private();
    let (counts, trouble) = (site.metrics.bucket.clone(), Episode::new(LINE_SPACING));
    let config = Arc::new(config);
    let mut export = Export { site, store, config, counts, status, trouble, pace, removed };
    let mut under_way: FuturesUnordered<Upload> = FuturesUnordered::new();
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            Some((name, version, outcome)) = under_way.next() => export.ended(&name, version, outcome),
            () = stop.cancelled() => return,
        }
        under_way.extend(export.begin(clock::mono()));
    }
}

fn address(config: &BucketConfig) -> String {
    let endpoint = config.endpoint.as_deref().unwrap_or("S3");
    format!("{endpoint}, bucket {}", config.bucket)
}

/// The relay's own HTTP client carries it: its certificates and deadlines, no redirects.
#[derive(Debug)]
struct OurClient;

impl HttpConnector for OurClient {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = client::client(&[], UPLOAD_WITHIN)
            .map_err(|why| Error::Generic { store: "S3", source: why.into() })?;
        Ok(HttpClient::new(client))
    }
}

/// Asks nobody yet.
///
/// # Errors
/// The settings make no address.
fn open(config: &BucketConfig) -> object_store::Result<AmazonS3> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(&config.region)
        .with_access_key_id(&config.access_key)
        .with_secret_access_key(config.secret.expose())
        .with_http_connector(OurClient)
        // A newer picture is better than another try with this one.
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    builder.build()
}

impl Export {
    /// What is to be uploaded now.
    fn begin(&mut self, now: Mono) -> Vec<Upload> {
        let mut contents = BTreeMap::new();
        if !self.removed {
            contents.insert(REMOVAL.to_owned(), (0, Content::Removal));
        }
        for (camera, held) in shown(&self.site) {
            for size in [None].into_iter().chain(self.config.sizes.iter().copied().map(Some)) {
                let folder = folder(&camera.id).map(|folder| folder + "/").unwrap_or_default();
                let name = folder + &file_name(size);
                let content = Content::Picture(Arc::clone(&camera), Arc::clone(&held), size);
                contents.insert(name, (held.number, content));
            }
        }
        // It is never the same: it says when it was written.
        contents.insert(STATUS.to_owned(), (status::millis(now.since_boot()), Content::Status));
        let here = contents.iter().map(|(name, (version, _))| (name.clone(), *version)).collect();
        let due = self.pace.begin(&here, now);
        let begun = due.into_iter().filter_map(|name| {
            let (version, content) = contents.remove(&name)?;
            Some(self.upload(name, version, content))
        });
        begun.collect()
    }

    fn upload(&self, name: String, version: u64, content: Content) -> Upload {
        let (site, store) = (Arc::clone(&self.site), Arc::clone(&self.store));
        let counts = self.counts.clone();
        Box::pin(async move {
            let within =
                if matches!(content, Content::Removal) { REMOVE_WITHIN } else { UPLOAD_WITHIN };
            let uploading = carry_out(&site, &store, &name, content, &counts);
            let outcome = match tokio::time::timeout(within, uploading).await {
                Ok(Ok(true)) => Ok(Ended::Stored(version)),
                Ok(Ok(false)) => Ok(Ended::LeftOut(version)),
                Ok(Err(error)) => Err(Trouble::of(&error)),
                Err(_) => {
                    let what = format!("it does not answer within {within:?}");
                    Err(Trouble { why: Why::Slow, what })
                }
            };
            (name, version, outcome)
        })
    }

    fn ended(&mut self, name: &str, version: u64, outcome: Result<Ended, Trouble>) {
        let now = clock::mono();
        let ended = match outcome {
            Ok(ended) => ended,
            Err(trouble) => {
                self.failed(&trouble, now);
                Ended::Failed
            }
        };
        self.pace.end(name, ended, now);
        self.removed |= name == REMOVAL && ended == Ended::Stored(version);
        if ended != Ended::Stored(version) {
            return;
        }
        self.status.set(Place::Bucket, None);
        if let Some(lasted) = self.trouble.leave(now) {
            let place = address(&self.config);
            Event::ExportWorks.say(
                About { age: Some(lasted), ..About::organ(ORGAN) },
                format_args!("{place}: pictures are exported again"),
            );
        }
    }

    fn failed(&mut self, trouble: &Trouble, now: Mono) {
        self.counts.failed.inc();
        self.site.metrics.export_failed.inc();
        let (place, Trouble { why, what }) = (address(&self.config), trouble);
        let problem = format!("{place}: {what}; {}", why.advice());
        if self.trouble.enter(now, *why).is_some() {
            Event::ExportDegraded.say(
                About { reason: Some(why.word()), ..About::organ(ORGAN) },
                format_args!("pictures are not exported: {problem}; trying again all the time"),
            );
        }
        self.status.set(Place::Bucket, Some(problem));
    }
}

/// Whether there was something to do.
async fn carry_out(
    site: &Site,
    store: &AmazonS3,
    name: &str,
    content: Content,
    counts: &BucketCounts,
) -> object_store::Result<bool> {
    let (bytes, attributes) = match &content {
        Content::Removal => return remove_private(site, store).await.map(|()| true),
        Content::Status => {
            let text = Bytes::from(status::text(site, clock::mono()));
            (text, attributes("application/json", "no-cache"))
        }
        Content::Picture(camera, held, size) => {
            // Nobody knows who looks at it.
            camera.asked(clock::mono());
            // One that can't be scaled stays as it was; the metrics count it.
            let Ok(made) = site.scaler.get(camera, held, *size).await else { return Ok(false) };
            let mut attributes = attributes("image/jpeg", cache_control(site));
            for (name, value) in [
                (wire::CAPTURED_AT, held.captured_at()),
                (wire::SEQ, held.frame.seq.to_string()),
                (wire::TIME_SOURCE, held.source.word().to_owned()),
            ] {
                attributes.insert(Attribute::Metadata(name.into()), value.into());
            }
            (made.jpeg.clone(), attributes)
        }
    };
    let length = bytes.len();
    let options = PutOptions { attributes, ..PutOptions::default() };
    store.put_opts(&Path::from(name), bytes.into(), options).await?;
    counts.stored.inc();
    counts.bytes.inc_by(length as u64);
    if let Content::Picture(camera, held, _) = &content {
        camera.counts.out(Kind::Export).sent(length, held.age(clock::mono()));
    }
    Ok(true)
}

fn cache_control(site: &Site) -> String {
    site.shared_cache.header().to_str().unwrap_or("no-cache").to_owned()
}

fn attributes(content_type: &'static str, cache_control: impl Into<String>) -> Attributes {
    Attributes::from_iter([
        (Attribute::ContentType, content_type.to_owned()),
        (Attribute::CacheControl, cache_control.into()),
    ])
}

/// What was exported of cameras that are private by now would be for everybody for ever.
async fn remove_private(site: &Site, store: &AmazonS3) -> object_store::Result<()> {
    let at_root = store.list_with_delimiter(None).await?.objects;
    let cameras = store.list(Some(&Path::from("cameras"))).take(MAX_ENTRIES);
    let all = futures_util::stream::iter(at_root.into_iter().map(Ok)).chain(cameras);
    let mut all = std::pin::pin!(all);
    let mut removed: BTreeMap<CameraId, usize> = BTreeMap::new();
    while let Some(object) = all.next().await {
        let location = object?.location;
        let Some(camera) = whose(location.as_ref()).filter(|id| site.access.is_private(id)) else {
            continue;
        };
        store.delete(&location).await?;
        *removed.entry(camera).or_default() += 1;
    }
    if !removed.is_empty() {
        let cameras: Vec<&str> = removed.keys().map(CameraId::as_str).collect();
        let cameras = cameras.join(", ");
        tracing::info!("removed the objects of cameras that are private now: {cameras}");
    }
    Ok(())
}

impl Trouble {
    fn of(error: &Error) -> Trouble {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the list is open")]
        let why = match error {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Why::Refused,
            // An object that is uploaded can't be missing, but what it is put into can.
            Error::NotFound { .. } => Why::NoBucket,
            _ => Why::Away,
        };
        let mut said = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(of) = cause {
            // Some say their causes themselves.
            if !said.contains(&of.to_string()) {
                said = format!("{said}: {of}");
            }
            cause = of.source();
        }
        // In one line: what a storage answers has many.
        let what = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let what = what
            .char_indices()
            .nth(MAX_REASON)
            .map_or(what.as_str(), |(end, _)| what.get(..end).unwrap_or_default());
        Trouble { why, what: what.to_owned() }
    }
}

impl Why {
    fn word(self) -> &'static str {
        match self {
            Why::Away => "away",
            Why::Refused => "refused",
            Why::NoBucket => "no-bucket",
            Why::Slow => "slow",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Why::Away => "is export.s3_endpoint right, and can this machine reach it?",
            Why::Refused => {
                "look at export.s3_access_key, its secret and export.s3_region, and whether it may write there"
            }
            Why::NoBucket => "make this bucket (export.s3_bucket)",
            Why::Slow => {
                "is the way there too slow for these pictures? export.sizes, export.s3_interval"
            }
        }
    }
}
