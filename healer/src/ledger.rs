//! The budget's file: nothing is rebooted that could not be written down before, so that no loop of
//! reboots comes of it.
//!
//! `ladder::Budget` decides; here it is read and written. `stillwatch-escalate.service` does so while
//! the agent, the only one that asks the healer, does not run: the file needs no lock.

use std::fs;
use std::io;

use ladder::{Budget, NoBudget};
use runtime::clock;
use runtime::event::{About, Event};
use runtime::files::{Survives, replace};

use crate::record::Record;
use crate::site::Site;

/// The budget, in the state directory.
const FILE: &str = "reboots";

/// Why there is no reboot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoReboot {
    #[error("no reboot is left: one comes back after {} h without trouble", Budget::REFILL.as_secs() / 3_600)]
    Empty,
    #[error(transparent)]
    NotOurs(NoBudget),
    #[error("the reboot budget can't be read: {0}")]
    Unreadable(io::Error),
    #[error("the reboot could not be written down: {0}")]
    Unwritable(io::Error),
}

/// The budget as it is; says so if it is damaged.
///
/// # Errors
/// It can't be read, or is a later version's.
pub(crate) fn read(site: &Site) -> Result<Budget, NoReboot> {
    let path = site.state(FILE);
    let content = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Budget::full()),
        other => other.map_err(NoReboot::Unreadable)?,
    };
    match String::from_utf8_lossy(&content).parse() {
        Ok(budget) => Ok(budget),
        Err(NoBudget::Torn) => {
            Event::BudgetDamaged.say(
                About::organ("machine"),
                format_args!("{} in {}", NoBudget::Torn, path.display()),
            );
            Ok(Budget::careful())
        }
        Err(later @ NoBudget::Later) => Err(NoReboot::NotOurs(later)),
    }
}

/// Spends a reboot, and writes down that and why. All of it is on the disk when this returns.
///
/// # Errors
/// There will be no reboot.
pub(crate) fn spend(site: &Site, mut record: Record) -> Result<Budget, NoReboot> {
    let now = clock::mono();
    // What was not accounted for yet counts as time without health.
    let budget = read(site)?.account(&site.boot_id(), now, false);
    site.make().map_err(NoReboot::Unwritable)?;
    let Some(spent) = budget.clone().spend() else {
        // Where no agent stays up for long enough to be asked, this is the only account there is.
        write(site, &budget).map_err(NoReboot::Unwritable)?;
        return Err(NoReboot::Empty);
    };
    let budget = spent;
    write(site, &budget).map_err(NoReboot::Unwritable)?;
    (record.left, record.spent) = (budget.left(), budget.spent());
    record.leave(site).map_err(NoReboot::Unwritable)?;
    Ok(budget)
}

/// The machine was well since the last account, or was not. A full budget is left as it is on the
/// disk: there is nothing to be gained, and SD cards wear.
///
/// # Errors
/// It can't be read, written, or is a later version's.
pub(crate) fn account(site: &Site, well: bool) -> Result<Budget, NoReboot> {
    let before = read(site)?;
    let after = before.clone().account(&site.boot_id(), clock::mono(), well);
    if before.left() < Budget::MAX {
        site.make().map_err(NoReboot::Unwritable)?;
        write(site, &after).map_err(NoReboot::Unwritable)?;
    }
    Ok(after)
}

fn write(site: &Site, budget: &Budget) -> io::Result<()> {
    replace(&site.state(FILE), format!("{budget}\n").as_bytes(), Survives::PowerCut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;
    use crate::site::tests::{file, site};

    fn record(site: &Site) -> Record {
        Record::now(site, "reboot", "no picture for an hour")
    }

    #[test]
    fn a_reboot_refused_counts_the_time_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        while spend(&site, record(&site)).is_ok() {}
        let before = fs::read(site.state(FILE)).unwrap();
        file(folder.path(), "root/proc/sys/kernel/random/boot_id", "another-boot\n");
        assert!(matches!(spend(&site, record(&site)), Err(NoReboot::Empty)));
        assert_ne!(fs::read(site.state(FILE)).unwrap(), before);
    }

    #[test]
    fn reboots_are_written_down_until_none_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        for left in [2, 1, 0] {
            let budget = spend(&site, record(&site)).unwrap();
            assert_eq!(budget.left(), left);
            assert_eq!(read(&site).unwrap(), budget);
            let pending = record::pending(&site).unwrap();
            assert_eq!((pending.left, pending.spent), (left, u64::from(3 - left)));
        }
        assert!(matches!(spend(&site, record(&site)), Err(NoReboot::Empty)));
        assert_eq!(read(&site).unwrap().left(), 0);
    }

    #[test]
    fn a_torn_one_is_careful_and_a_later_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        file(folder.path(), "state/reboots", "reboots-1 left=3 sp");
        assert_eq!(spend(&site, record(&site)).unwrap().left(), 0);
        assert!(matches!(spend(&site, record(&site)), Err(NoReboot::Empty)));
        let later = "reboots-2 left=7\n";
        file(folder.path(), "state/reboots", later);
        assert!(matches!(spend(&site, record(&site)), Err(NoReboot::NotOurs(_))));
        assert!(matches!(account(&site, true), Err(NoReboot::NotOurs(_))));
        assert_eq!(fs::read_to_string(site.state(FILE)).unwrap(), later);
    }

    #[test]
    fn what_cannot_be_written_is_not_done() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        // Where the temporary file goes; root may write everywhere else.
        fs::create_dir(site.state(".reboots.tmp")).unwrap();
        assert!(matches!(spend(&site, record(&site)), Err(NoReboot::Unwritable(_))));
        fs::remove_dir(site.state(".reboots.tmp")).unwrap();
        fs::create_dir(site.state(".last-reboot.json.tmp")).unwrap();
        assert!(matches!(spend(&site, record(&site)), Err(NoReboot::Unwritable(_))));
        fs::create_dir(site.state("dir")).unwrap();
        fs::remove_file(site.state(FILE)).unwrap();
        fs::create_dir(site.state(FILE)).unwrap();
        assert!(matches!(spend(&site, record(&site)), Err(NoReboot::Unreadable(_))));
    }

    #[test]
    fn a_full_budget_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        assert_eq!(account(&site, true).unwrap().left(), Budget::MAX);
        assert!(!site.state(FILE).exists());
        spend(&site, record(&site)).unwrap();
        let before = fs::read(site.state(FILE)).unwrap();
        file(folder.path(), "/proc/sys/kernel/random/boot_id", "another-boot\n");
        account(&site, true).unwrap();
        assert_ne!(fs::read(site.state(FILE)).unwrap(), before);
    }
}
