//! What the machine says of itself: temperature, WiFi signal, supply voltage. What can't be read is
//! left out.
//!
//! What is done about it does not belong here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use frame::report::Report;

/// The kernel asks the firmware for some of these: one that hangs is not waited for.
const WITHIN: Duration = Duration::from_secs(1);

/// Looks at this machine.
pub(crate) async fn report() -> Option<Report> {
    let look = tokio::task::spawn_blocking(|| read(Path::new("/")));
    tokio::time::timeout(WITHIN, look).await.ok()?.ok()
}

/// Looks at the machine whose `/sys` and `/proc` are below `root`.
fn read(root: &Path) -> Report {
    Report {
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        temperature_c: text(&root.join("sys/class/thermal/thermal_zone0/temp"))
            .and_then(|text| temperature(&text)),
        wifi_dbm: text(&root.join("proc/net/wireless")).and_then(|text| wifi_level(&text)),
        undervoltage: undervoltage(&root.join("sys/class/hwmon")),
        last_reboot: None,
    }
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Documentation/driver-api/thermal/sysfs-api.rst: thousandths of a degree Celsius.
fn temperature(text: &str) -> Option<f32> {
    let thousandths: i32 = text.trim().parse().ok()?;
    Some(f32::from(i16::try_from(thousandths / 100).ok()?) / 10.0)
}

/// net/wireless/wext-proc.c: two lines of headings, then `wlan0: 0000   58.  -52.  -256 …`, where the
/// third is the level in dBm. Of several devices, the first.
fn wifi_level(text: &str) -> Option<i16> {
    let device = text.lines().nth(2)?;
    let level: i16 = device.split_whitespace().nth(3)?.trim_end_matches('.').parse().ok()?;
    // Drivers that know no dBm give a number without a unit.
    (level < 0).then_some(level)
}

/// drivers/hwmon/raspberrypi-hwmon.c: 1 while, and after, the voltage was too low.
fn undervoltage(hwmon: &Path) -> Option<bool> {
    let devices = fs::read_dir(hwmon).ok()?;
    let is_supply =
        |path: &PathBuf| text(&path.join("name")).is_some_and(|name| name.trim() == "rpi_volt");
    let supply = devices.flatten().map(|entry| entry.path()).find(is_supply)?;
    Some(text(&supply.join("in0_lcrit_alarm"))?.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_raspberry_pi() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "sys/class/thermal/thermal_zone0/temp", "51540\n");
        write(
            root.path(),
            "proc/net/wireless",
            "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n \
             face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n \
             wlan0: 0000   58.  -52.  -256        0      0      0      2      0        0\n",
        );
        write(root.path(), "sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
        write(root.path(), "sys/class/hwmon/hwmon1/name", "rpi_volt\n");
        write(root.path(), "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
        let report = read(root.path());
        assert_eq!(report.temperature_c, Some(51.5));
        assert_eq!((report.wifi_dbm, report.undervoltage), (Some(-52), Some(true)));
        write(root.path(), "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n");
        assert_eq!(read(root.path()).undervoltage, Some(false));
    }

    #[test]
    fn what_a_machine_does_not_say_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "sys/class/thermal/thermal_zone0/temp", "hot\n");
        write(root.path(), "proc/net/wireless", "Inter-|\n face |\n");
        write(root.path(), "sys/class/hwmon/hwmon0/name", "nvme\n");
        let version = Some(env!("CARGO_PKG_VERSION").to_owned());
        assert_eq!(read(root.path()), Report { version, ..Report::default() });
    }
}
