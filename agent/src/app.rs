//! The map of `run`: what is built, what hands frames to what, and in which order it ends.
//!
//! ```text
//! camera thread ──► slot ──► upload task ──► relay
//!       │             ├──► offline task ─┘
//!       │             └──► viewer task ──► phones in the local network
//!       │                        │
//!       └──────── health ◄───────┘
//!  update task ◄── relay; how far it is ──► upload task, supervise task; the updater
//!        network ──┐ └──► supervise task: ladders ──► capture thread, healer, camera's power
//!        machine ──┴────────┘      └──► systemd, watchdogs, status file;  LED task, button task
//! ```

use std::sync::Arc;
use std::time::Duration;

use runtime::slot::slot;
use runtime::tasks::Tasks;
use runtime::{notify, signal};
use tokio::sync::mpsc;

use crate::config::{Config, UploadConfig};
use crate::health::Health;
use crate::machine::Machine;
use crate::network::Network;
use crate::offline::Offline;
use crate::sensor::EncoderControl;
use crate::sensor::thread::{Sensor, watch};
use crate::supervise::{Supervisor, button, led};
use crate::update::{Updater, Updates};
use crate::upload::{Traffic, Uploader};
use crate::viewer::{self, Viewer};
use crate::{supervise, update, upload};

/// Tasks that have not ended by then are cut off: the agent stops within a second.
const STOP_WITHIN: Duration = Duration::from_millis(600);

/// Why the agent ended, other than because it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Http(#[from] upload::HttpError),
    #[error("can't listen for signals: {0}")]
    Signals(#[from] std::io::Error),
    #[error("{0}; ending, for systemd to start the agent anew")]
    TaskEnded(runtime::tasks::Ended),
    #[error("{0}; ending, for systemd to start the agent anew")]
    Asked(String),
}

/// Captures and uploads until a signal ends it.
pub(crate) async fn run(config: Config, upload: UploadConfig) -> Result<(), RunError> {
    let stop_requested = signal::stop_requested();
    let (quit, mut asked_to_quit) = mpsc::channel(1);
    let mut tasks = start(config, upload, quit)?;
    let outcome = tokio::select! {
        signal = stop_requested => {
            tracing::info!("{}: stopping", signal?);
            Ok(())
        }
        ended = tasks.ended() => Err(RunError::TaskEnded(ended)),
        Some(why) = asked_to_quit.recv() => Err(RunError::Asked(why)),
    };
    notify::stopping();
    for name in tasks.stop(STOP_WITHIN).await {
        tracing::warn!("the task \"{name}\" did not end in time and was cut off");
    }
    outcome
}

/// Builds everything, and starts the tasks.
fn start(
    config: Config,
    upload: UploadConfig,
    quit: mpsc::Sender<String>,
) -> Result<Tasks, RunError> {
    let health = Arc::new(Health::new());
    let (writer, reader) = slot();
    let control = Arc::new(EncoderControl::default());
    let sensor = Arc::new(Sensor::new(&config, writer, Arc::clone(&control), Arc::clone(&health)));
    let relays = upload::Http::all(&upload)?;
    let offline = Arc::new(Offline::new(config.id.clone(), config.offline.clone(), config.clock));
    let (machine, network) = (Arc::new(Machine::default()), Arc::new(Network::default()));
    let (updates, traffic) = (Arc::new(Updates::default()), Arc::new(Traffic::default()));
    let supervisor = Supervisor {
        updates: Arc::clone(&updates),
        health: Arc::clone(&health),
        sensor: Arc::clone(&sensor),
        network: Arc::clone(&network),
        machine: Arc::clone(&machine),
        heal: config.heal.clone(),
        clock: config.clock,
        watchdog: config.watchdog.clone(),
        keeps_pictures: config.offline.max_bytes > 0,
        quit,
        upload_turn: upload.timeout.max(upload.retry_max),
        relay: upload.addresses(),
        status_file: config.status_file.clone(),
    };
    tracing::info!("uploading camera \"{}\" to {}", config.id, upload.addresses());

    let mut tasks = Tasks::default();
    let stop = tasks.stop_token();
    let keeps = Arc::clone(&offline).keep(sensor.frames.watch(), Arc::clone(&health), stop.clone());
    start_for_people(&mut tasks, &config, &sensor, &health);
    let updater = Updater {
        config: config.update,
        relays: relays.clone(),
        folder: supervise::system::state_directory(),
        health: Arc::clone(&health),
        traffic: Arc::clone(&traffic),
        updates: Arc::clone(&updates),
    };
    tasks.spawn("update", update::run(updater, stop.clone()));
    let uploader = Uploader {
        updates,
        traffic,
        relays,
        config: upload,
        frames: reader,
        offline,
        control,
        health: Arc::clone(&health),
        machine: Arc::clone(&machine),
        seen: Arc::clone(&network),
    };
    tasks.spawn("machine", machine.watch(stop.clone()));
    tasks.spawn("network", network.watch(stop.clone()));
    tasks.spawn("camera", watch(sensor, stop.clone()));
    tasks.spawn("upload", upload::run(uploader, stop.clone()));
    tasks.spawn("offline", keeps);
    tasks.spawn("supervise", supervise::run(supervisor, stop));
    Ok(tasks)
}

/// What somebody sees or presses who stands beside the camera.
fn start_for_people(tasks: &mut Tasks, config: &Config, sensor: &Sensor, health: &Arc<Health>) {
    let stop = tasks.stop_token();
    if let Some(listen) = config.viewer {
        let viewer = Viewer {
            listen,
            camera: config.id.clone(),
            frames: sensor.frames.watch(),
            health: Arc::clone(health),
            status_file: config.status_file.clone(),
        };
        tasks.spawn("viewer", viewer::run(viewer, stop.clone()));
    }
    if let Some(gpio) = config.button_gpio {
        tasks.spawn("button", button::run(gpio, config.heal.socket.clone(), stop.clone()));
    }
    if let Some(gpio) = config.led_gpio {
        tasks.spawn("led", led::run(gpio, Arc::clone(health), stop));
    }
}
