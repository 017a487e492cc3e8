//! `stillwatch-updater`: installs updates of the SD card's whole system, and takes back those that do not prove
//! themselves.
//!
//! Arguments and exit codes only. `run.rs` is the service; what it decides is in `start` (what does this boot mean?),
//! `trial` (is a new system kept?), `may` (may one be installed now?), `judge` (is this bundle for us?) and
//! `uboot` and `tryboot` (which slot is started?), all of them pure. `install.rs` writes a slot, by RAUC; `record.rs` is
//! what both systems know of it.

mod bootloader;
mod cli;
mod install;
mod judge;
mod layers;
mod may;
mod place;
mod programs;
mod record;
mod run;
mod sight;
mod slot;
mod source;
mod start;
mod status;
mod trial;
mod tryboot;
mod uboot;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use install::{Installer, NotInstalled};
use judge::Asked;
use place::{Place, Running};
use programs::Programs;
use record::Record;
use runtime::program;
use tryboot::backend::{self, Ask, Known, Noted};

fn main() -> ExitCode {
    let Cli { places, command } = Cli::parse();
    if let Err(error) = runtime::log::start() {
        eprintln!("no log: {error}");
    }
    let place = Place::new(places);
    let running = match place.running() {
        Ok(running) => running,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(runtime::settings::EXIT_CONFIG);
        }
    };
    match command {
        Command::Run => program::run(run::run(place, running)),
        Command::Install(install) => program::run(by_hand(place, running, install)),
        Command::Status => status::report(&place, &running),
        Command::Rauc(ask) => rauc(&place, &running, ask),
    }
}

/// RAUC reads what is printed, and stops if this fails.
fn rauc(place: &Place, running: &Running, ask: Ask) -> ExitCode {
    let (record, mut noted) = (Record::read(&place.state), Noted::read(&place.state));
    let kept = running.bootloader.kept(place);
    let known = Known { running: running.slot, kept, record: &record };
    let answer = backend::answer(ask, known, &mut noted);
    let written = answer
        .and_then(|said| noted.write(&place.state).map(|()| said).map_err(|it| it.to_string()));
    match written {
        Ok(said) => {
            if let Some(said) = said {
                println!("{said}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn by_hand(
    place: Place,
    running: Running,
    install: cli::Install,
) -> Result<(), NotInstalled> {
    let cli::Install { bundle: path, older, reboot } = install;
    let programs = Programs::new(&place);
    let asked = if older { Asked::Exactly } else { Asked::Usual };
    let installer = Installer { place: &place, programs: &programs, running: &running, asked };
    let record = Record::read(&place.state);
    let bundle = installer.look(&path, &record).await?;
    let slot = running.slot.other();
    println!("installing {} into slot {slot}", bundle.version);
    installer.install(&path, &bundle, |percent| println!("{percent} %")).await?;
    println!("installed; it is started {}", if reboot { "now" } else { "with the next boot" });
    if reboot { installer.start(&bundle.version).await } else { Ok(()) }
}
