//! The export as files that any web server can serve. Each is replaced in one step, so a reader sees a whole one, old or
//! new, and never none. `status.json` is written at least once a second.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frame::CameraId;
use ladder::{Episode, Mono};
use runtime::clock;
use runtime::event::{About, Event};
use runtime::files::{Survives, publish};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{
    ExportStatus, LINE_SPACING, MAX_ENTRIES, ORGAN, Place, STATUS, file_name, folder, is_picture,
    shown,
};
use crate::board::{Camera, Size};
use crate::metrics::Kind;
use crate::routes::Site;
use crate::status;

/// `status.json` is never older than this, and a bit.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// A disk that takes longer hangs.
const HANGS: Duration = Duration::from_secs(10);

/// Where and what to write.
#[derive(Debug, Clone)]
pub(crate) struct FilesConfig {
    pub dir: PathBuf,
    pub sizes: Vec<Size>,
    /// Least time between two writes.
    pub interval: Duration,
    /// Whether files survive a power cut.
    pub durable: bool,
}

/// A file to be replaced.
#[derive(Debug)]
struct Write {
    path: PathBuf,
    content: Bytes,
}

struct Export {
    site: Arc<Site>,
    config: FilesConfig,
    status: ExportStatus,
    trouble: Episode<io::ErrorKind>,
    /// The number of the frame that each camera's files show.
    written: BTreeMap<CameraId, u64>,
    status_at: Option<Mono>,
}

/// Runs until `stop`.
pub(crate) async fn run(
    site: Arc<Site>,
    config: FilesConfig,
    status: ExportStatus,
    stop: CancellationToken,
) {
    let mut every = tokio::time::interval(config.interval);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let trouble = Episode::new(LINE_SPACING);
    let written = BTreeMap::new();
    let mut export = Export { site, config, status, trouble, written, status_at: None };
    loop {
        tokio::select! {
            _ = every.tick() => export.turn().await,
            () = stop.cancelled() => return,
        }
    }
}

impl Export {
    async fn turn(&mut self) {
        let (mut writes, mut written) = (Vec::new(), Vec::new());
        for (camera, held) in shown(&self.site) {
            if self.written.get(&camera.id) == Some(&held.number) {
                continue;
            }
            written.push((Arc::clone(&camera), held.number));
            let folder = folder_in(&self.config.dir, &camera.id);
            let full = (None, held.full.jpeg.clone());
            let mut pictures = vec![full];
            for size in &self.config.sizes {
                // A picture that can't be scaled stays as it was; the metrics count it.
                if let Ok(made) = self.site.scaler.get(&camera, &held, Some(*size)).await {
                    pictures.push((Some(*size), made.jpeg.clone()));
                }
            }
            for (size, content) in pictures {
                let now = clock::mono();
                camera.counts.out(Kind::Export).sent(content.len(), held.age(now));
                // Nobody knows who looks at files.
                camera.asked(now);
                writes.push(Write { path: folder.join(file_name(size)), content });
            }
        }
        let now = clock::mono();
        if !writes.is_empty() || self.status_at.is_none_or(|at| now.since(at) >= STATUS_EVERY) {
            let content = status::text(&self.site, now).into();
            writes.push(Write { path: self.config.dir.join(STATUS), content });
            self.write(writes, written, now).await;
        }
    }

    async fn write(&mut self, writes: Vec<Write>, written: Vec<(Arc<Camera>, u64)>, now: Mono) {
        let (dir, durable) = (self.config.dir.clone(), self.config.durable);
        // Until it succeeded once: the disk may come later.
        let first = self.status_at.is_none().then(|| Arc::clone(&self.site));
        let mut writing = tokio::task::spawn_blocking(move || {
            // Who can't remove one goes on with the others'.
            let removed = first.map_or(Ok(()), |site| remove_private(&dir, &site));
            write_all(&dir, &writes, durable).and(removed)
        });
        let outcome = match tokio::time::timeout(HANGS, &mut writing).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let dir = self.config.dir.display();
                let problem = format!("{dir}: the disk does not answer");
                Event::ExportDegraded.say(
                    About { reason: Some("hangs"), ..About::organ(ORGAN) },
                    format_args!("{problem}; files are not exported until it does"),
                );
                self.status.set(Place::Files, Some(problem));
                // A second thread would hang as well.
                writing.await
            }
        };
        match outcome {
            Ok(Ok(())) => {
                self.status_at = Some(now);
                self.status.set(Place::Files, None);
                self.written.extend(written.into_iter().map(|(c, number)| (c.id.clone(), number)));
                if let Some(lasted) = self.trouble.leave(clock::mono()) {
                    let dir = self.config.dir.display();
                    Event::ExportWorks.say(
                        About { age: Some(lasted), ..About::organ(ORGAN) },
                        format_args!("{dir}: files are exported again"),
                    );
                }
            }
            Ok(Err((path, error))) => self.failed(&path, &error),
            Err(_) => self.failed(&self.config.dir.clone(), &io::Error::other("it panicked")),
        }
    }

    fn failed(&mut self, path: &Path, error: &io::Error) {
        self.site.metrics.export_failed.inc();
        let (path, advice) = (path.display(), advice(error));
        let problem = format!("{path}: {error}; {advice}");
        if self.trouble.enter(clock::mono(), error.kind()).is_some() {
            Event::ExportDegraded.say(
                About { errno: error.raw_os_error(), ..About::organ(ORGAN) },
                format_args!("files are not exported: {problem}; trying again all the time"),
            );
        }
        self.status.set(Place::Files, Some(problem));
    }
}

fn folder_in(dir: &Path, camera: &CameraId) -> PathBuf {
    folder(camera).map_or_else(|| dir.to_owned(), |folder| dir.join(folder))
}

/// What was exported of cameras that are private by now would be for everybody for ever.
fn remove_private(dir: &Path, site: &Site) -> Result<(), (PathBuf, io::Error)> {
    let mut cameras = vec![CameraId::default()];
    let below = dir.join("cameras");
    if is_folder(&below) {
        let entries = fs::read_dir(&below).map_err(|error| (below, error))?;
        let name = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        cameras.extend(entries.take(MAX_ENTRIES).flatten().filter_map(name));
    }
    let (mut removed, mut outcome) = (Vec::new(), Ok(()));
    for camera in cameras.iter().filter(|camera| site.access.is_private(camera)) {
        match remove_pictures(&folder_in(dir, camera), *camera == CameraId::default()) {
            Ok(0) => {}
            Ok(_) => removed.push(camera.as_str()),
            Err(failed) => outcome = Err(failed),
        }
    }
    if !removed.is_empty() {
        let (dir, cameras) = (dir.display(), removed.join(", "));
        tracing::info!("{dir}: removed the files of cameras that are private now: {cameras}");
    }
    outcome
}

/// How many there were. A link is nothing that was written here, and leads elsewhere; but `at_root` the folder is what
/// the configuration says.
fn remove_pictures(folder: &Path, at_root: bool) -> Result<usize, (PathBuf, io::Error)> {
    if !(is_folder(folder) || at_root && folder.is_dir()) {
        return Ok(0);
    }
    let mut count = 0;
    let entries = fs::read_dir(folder).map_err(|error| (folder.to_owned(), error))?;
    for entry in entries.take(MAX_ENTRIES).flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && entry.file_name().to_str().is_some_and(is_ours) {
            let why = |error: io::Error| {
                let what = format!("a private camera's, and can't be removed: {error}");
                (entry.path(), io::Error::new(error.kind(), what))
            };
            fs::remove_file(entry.path()).map_err(why)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Not a link to one.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|about| about.is_dir())
}

/// Whether the export gives files such names, or those that they have before they are whole.
fn is_ours(name: &str) -> bool {
    is_picture(name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")).unwrap_or(name))
}

fn write_all(dir: &Path, writes: &[Write], durable: bool) -> Result<(), (PathBuf, io::Error)> {
    // Not made here: where a file system should be mounted, files would fill the one below.
    fs::metadata(dir).map_err(|error| (dir.to_owned(), error))?;
    let survives = if durable { Survives::PowerCut } else { Survives::Exit };
    for Write { path, content } in writes {
        let at = |error| (path.clone(), error);
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            make(dir, folder).map_err(at)?;
        }
        publish(path, content, survives).map_err(at)?;
    }
    Ok(())
}

/// Makes a camera's folder below `dir`, for all to look into whatever the umask.
fn make(dir: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for made in folder.ancestors().take_while(|above| *above != dir) {
        fs::set_permissions(made, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn advice(error: &io::Error) -> &'static str {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the list of kinds is open")]
    match error.kind() {
        io::ErrorKind::NotFound => "make this folder (export.dir)",
        io::ErrorKind::PermissionDenied => {
            "let the relay's user write there (and its unit: ReadWritePaths=)"
        }
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only",
        io::ErrorKind::StorageFull => "the disk is full",
        _ => "is the disk in order?",
    }
}
