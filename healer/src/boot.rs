//! Why was the machine started? Said once for each boot; and the marker that an orderly shutdown
//! leaves for the next.

use std::convert::Infallible;
use std::fs;
use std::time::Duration;

use runtime::event::{About, Event};
use runtime::files::{Survives, replace};

use crate::down::UPDATE;
use crate::evidence::{Evidence, LOOKED_INTO, ORDERLY};
use crate::site::Site;
use crate::{ledger, published};
use runtime::child::{End, Left, run as run_child};

/// How long systemd may take to say whether it is shutting down.
const ASKED_WITHIN: Duration = Duration::from_secs(2);

/// Finds out, says so, publishes it.
///
/// # Errors
/// None: what it can't read or write it does without.
pub(crate) fn run(site: &Site) -> Result<(), Infallible> {
    if let Err(error) = site.make() {
        tracing::warn!("the healer's folders could not be made: {error}");
    }
    if let Ok(budget) = ledger::read(site) {
        published::budget(site, &budget);
    }
    if already(site) {
        tracing::debug!("this boot was looked into before");
        return Ok(());
    }
    let sentence = why(&Evidence::take(site));
    Event::Booted.say(About::organ("machine"), format_args!("{sentence}"));
    published::booted(site, &sentence);
    Ok(())
}

/// The unit may be restarted, by an update for instance.
fn already(site: &Site) -> bool {
    let looked_into = fs::read_to_string(site.state(LOOKED_INTO)).unwrap_or_default();
    !looked_into.is_empty()
        && looked_into == site.boot_id()
        && published::read(site).booted.is_some()
}

/// The surest evidence wins. Boards that reboot by their watchdog, the Raspberry Pi is one, may set its
/// bit each time: after an orderly shutdown it says nothing.
fn why(evidence: &Evidence) -> String {
    if let Some(record) = &evidence.pending {
        let reason = &record.reason;
        if record.boot_id == evidence.boot_id {
            return format!("a reboot was begun, because {reason}, but it did not happen");
        }
        return match record.rung.as_str() {
            "poweroff" => format!("Stillwatch had shut the machine down, because {reason}"),
            UPDATE => format!("Stillwatch rebooted the machine, because {reason}"),
            _ => format!(
                "Stillwatch rebooted the machine, because {reason}: reboot {} of the budget, {} left",
                record.spent, record.left
            ),
        };
    }
    if evidence.watchdog && !evidence.orderly {
        return "the hardware watchdog reset the machine: it had hung".to_owned();
    }
    if let Some(words) = &evidence.panic {
        return format!("the kernel crashed: {words}");
    }
    if evidence.orderly {
        return "somebody shut the machine down or rebooted it, in order".to_owned();
    }
    if evidence.first {
        return "the machine starts with Stillwatch for the first time".to_owned();
    }
    "the power was cut, or the machine hung and was reset".to_owned()
}

/// Leaves the marker, if the machine does go down: units are stopped for other reasons, too.
///
/// # Errors
/// None: without a marker the next boot believes in a power cut.
pub(crate) async fn halt(site: Site) -> Result<(), Infallible> {
    let mut command = site.program("systemctl");
    command.arg("is-system-running");
    let ran = run_child(command, ASKED_WITHIN, &Left::default()).await;
    let goes_on = matches!(ran.end, End::Exited(_)) && ran.output != "stopping";
    if goes_on {
        tracing::debug!("the machine goes on ({}): no marker", ran.output);
        return Ok(());
    }
    let written = site.make().and_then(|()| replace(&site.state(ORDERLY), b"", Survives::PowerCut));
    if let Err(error) = written {
        tracing::warn!("the next boot will believe in a power cut: {error}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{self, Record};
    use crate::site::tests::{file, site};

    fn boot(folder: &std::path::Path, id: &str) -> String {
        file(folder, "/proc/sys/kernel/random/boot_id", id);
        // There is none before the first boot.
        let _ = fs::remove_dir_all(folder.join("run"));
        run(&site(folder)).unwrap();
        published::read(&site(folder)).booted.unwrap()
    }

    #[test]
    fn each_boot_is_explained_by_the_surest_evidence() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let site = site(folder);
        assert_eq!(boot(folder, "a"), "the machine starts with Stillwatch for the first time");
        assert_eq!(boot(folder, "b"), "the power was cut, or the machine hung and was reset");
        file(folder, "state/orderly", "");
        assert_eq!(boot(folder, "c"), "somebody shut the machine down or rebooted it, in order");
        file(folder, "state/orderly", "");
        file(folder, "/sys/fs/pstore/dmesg-efi-1", "Kernel panic - not syncing: Fatal exception");
        let crashed = "the kernel crashed: Kernel panic - not syncing: Fatal exception";
        assert_eq!(boot(folder, "d"), crashed);
        file(folder, "/sys/class/watchdog/watchdog0/bootstatus", "32");
        let reset = "the hardware watchdog reset the machine: it had hung";
        assert_eq!(boot(folder, "e"), reset);
        ledger::spend(&site, Record::now(&site, "reboot", "no picture came")).unwrap();
        let ours = "Stillwatch rebooted the machine, because no picture came: reboot 1 of the budget, \
                    2 left";
        assert_eq!(boot(folder, "f"), ours);
        assert_eq!(published::read(&site).reboots_left, 2);
        assert_eq!(boot(folder, "g"), reset);
        file(folder, "state/orderly", "");
        assert_eq!(boot(folder, "h"), "somebody shut the machine down or rebooted it, in order");
    }

    #[test]
    fn what_did_not_happen_is_said_and_settled() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        boot(folder, "a");
        let site = site(folder);
        Record::now(&site, "reboot", "no picture came").leave(&site).unwrap();
        let sentence = "a reboot was begun, because no picture came, but it did not happen";
        assert_eq!(boot(folder, "a"), sentence);
        assert_eq!(record::pending(&site), None);
        Record::now(&site, "poweroff", "the button was held").leave(&site).unwrap();
        let sentence = "Stillwatch had shut the machine down, because the button was held";
        assert_eq!(boot(folder, "b"), sentence);
        Record::now(&site, UPDATE, "an update is installed").leave(&site).unwrap();
        let sentence = "Stillwatch rebooted the machine, because an update is installed";
        assert_eq!(boot(folder, "c"), sentence);
    }

    #[test]
    fn a_boot_is_looked_into_once() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        boot(folder, "a");
        let said = boot(folder, "b");
        file(folder, "state/orderly", "");
        run(&site(folder)).unwrap();
        assert_eq!(published::read(&site(folder)).booted, Some(said));
        assert!(site(folder).state(ORDERLY).exists());
    }
}
