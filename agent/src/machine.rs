//! What the machine says of itself: temperature, WiFi signal and rate, supply voltage, throttling, how
//! it was started. What can't be read is left out.
//!
//! What is done about it does not belong here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use frame::report::Report;
use runtime::heal;
use tokio_util::sync::CancellationToken;

/// The kernel asks the firmware for some of these: one that hangs is not waited for.
const WITHIN: Duration = Duration::from_secs(1);

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(30);

/// What the machine said last.
#[derive(Debug, Default)]
pub(crate) struct Machine(Mutex<Option<Said>>);

/// What it said.
#[derive(Debug, Clone, Default, PartialEq)]
struct Said {
    report: Report,
    /// Whether the supply's voltage is too low now: the report's may be of an hour ago.
    low_voltage: Option<bool>,
}

impl Machine {
    /// `None` before the first look.
    pub(crate) fn latest(&self) -> Option<Report> {
        self.said().map(|said| said.report)
    }

    /// Whether the supply's voltage is too low now; `None`: nobody says.
    pub(crate) fn has_low_voltage(&self) -> Option<bool> {
        self.said().and_then(|said| said.low_voltage)
    }

    fn said(&self) -> Option<Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at it until `stop`: beside the frames, which wait for none of it.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let watch = async {
            loop {
                let said = look().await;
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = said;
                tokio::time::sleep(EVERY).await;
            }
        };
        let _: Option<()> = stop.run_until_cancelled(watch).await;
    }
}

/// Looks at this machine.
async fn look() -> Option<Said> {
    let look = tokio::task::spawn_blocking(|| read(Path::new("/")));
    let Said { report, low_voltage } = tokio::time::timeout(WITHIN, look).await.ok()?.ok()?;
    let firmware = match report.throttled {
        Some(_) => None,
        None => said("vcgencmd", &["get_throttled"]).await,
    };
    let bits = firmware.as_deref().and_then(|text| text.trim().strip_prefix("throttled="));
    let firmware = bits.and_then(throttled);
    let wifi = match report.wifi_dbm {
        Some(_) => said("iw", &["dev"]).await,
        None => None,
    };
    let link = match wifi.as_deref().and_then(wifi_device) {
        Some(device) => said("iw", &["dev", device, "link"]).await,
        None => None,
    };
    let low_voltage = low_voltage.or(bits.and_then(low_now));
    let report = Report {
        throttled: report.throttled.or(firmware.map(|(throttled, _)| throttled)),
        undervoltage: report.undervoltage.or(firmware.map(|(_, undervoltage)| undervoltage)),
        wifi_mbps: link.and_then(|text| wifi_rate(&text)),
        ..report
    };
    Some(Said { report, low_voltage })
}

/// What a program says, if it is there and says it soon.
async fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = tokio::process::Command::new(program);
    let run = command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(WITHIN, run).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Looks at the machine whose `/sys` and `/proc` are below `root`.
fn read(root: &Path) -> Said {
    let firmware = text(&root.join(GET_THROTTLED));
    let firmware = firmware.as_deref().map(str::trim);
    let undervoltage = undervoltage(&root.join("sys/class/hwmon"));
    let report = Report {
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        temperature_c: text(&root.join("sys/class/thermal/thermal_zone0/temp"))
            .and_then(|text| temperature(&text)),
        wifi_dbm: text(&root.join("proc/net/wireless")).and_then(|text| wifi_level(&text)),
        undervoltage,
        throttled: firmware.and_then(throttled).map(|(throttled, _)| throttled),
        uptime_s: Some(runtime::clock::mono().since_boot().as_secs()),
        last_reboot: text(&root.join(heal::STATE.trim_start_matches('/')))
            .and_then(|text| serde_json::from_str::<heal::State>(&text).ok()?.booted)
            .or_else(|| {
                // Without a healer nobody but the hardware knows.
                let status = text(&root.join("sys/class/watchdog/watchdog0/bootstatus"))?;
                by_watchdog(&status).then(|| "watchdog".to_owned())
            }),
        ..Report::default()
    };
    // What the kernel's driver says is of the last two seconds.
    Said { report, low_voltage: firmware.and_then(low_now).or(undervoltage) }
}

/// drivers/firmware/raspberrypi.c of the Raspberry Pi's kernel.
const GET_THROTTLED: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";

/// Whether the processor was slowed down, and whether the voltage was too low, at any time since boot,
/// of `vcgencmd get_throttled`'s bits (Raspberry Pi's documentation, "vcgencmd").
fn throttled(hexadecimal: &str) -> Option<(bool, bool)> {
    const VOLTAGE: u32 = 1 | 1 << 16;
    const SLOWED: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 17 | 1 << 18 | 1 << 19;
    let bits = u32::from_str_radix(hexadecimal.trim_start_matches("0x"), 16).ok()?;
    Some((bits & SLOWED != 0, bits & VOLTAGE != 0))
}

/// Whether it is too low now, of the same.
fn low_now(hexadecimal: &str) -> Option<bool> {
    let bits = u32::from_str_radix(hexadecimal.trim_start_matches("0x"), 16).ok()?;
    Some(bits & 1 != 0)
}

/// include/uapi/linux/watchdog.h: WDIOF_CARDRESET.
fn by_watchdog(bootstatus: &str) -> bool {
    const CARD_RESET: u32 = 0x20;
    let text = bootstatus.trim();
    let bits =
        text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u32::from_str_radix(hex, 16));
    bits.is_ok_and(|bits| bits & CARD_RESET != 0)
}

/// The first device of `iw dev`.
fn wifi_device(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.trim().strip_prefix("Interface "))
}

/// Of `iw dev wlan0 link`: `tx bitrate: 65.0 MBit/s MCS 7`.
fn wifi_rate(text: &str) -> Option<f32> {
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("tx bitrate: "))?;
    let (number, rest) = rate.split_once(' ')?;
    rest.starts_with("MBit/s").then(|| number.parse().ok())?
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

/// What blocks of a file system come to. Their numbers are of 32 bits on 32-bit machines.
pub(crate) fn bytes_of(blocks: impl Into<u64>, size: impl Into<u64>) -> u64 {
    blocks.into().saturating_mul(size.into())
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
        let Said { report, low_voltage } = read(root.path());
        assert_eq!(low_voltage, Some(true));
        assert_eq!(report.temperature_c, Some(51.5));
        assert_eq!((report.wifi_dbm, report.undervoltage), (Some(-52), Some(true)));
        write(root.path(), "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n");
        assert_eq!(read(root.path()).report.undervoltage, Some(false));
        // It was, and is not any more.
        write(root.path(), GET_THROTTLED, "0x50000\n");
        assert_eq!(read(root.path()).low_voltage, Some(false));
        write(root.path(), GET_THROTTLED, "0x50001\n");
        assert_eq!(read(root.path()).low_voltage, Some(true));
    }

    #[test]
    fn why_it_was_started_the_healer_knows_best() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "sys/class/watchdog/watchdog0/bootstatus", "32\n");
        assert_eq!(read(root.path()).report.last_reboot.as_deref(), Some("watchdog"));
        write(root.path(), "run/stillwatch/healer.json", r#"{"booted":"the camera was dead"}"#);
        assert_eq!(read(root.path()).report.last_reboot.as_deref(), Some("the camera was dead"));
    }

    #[test]
    fn what_a_machine_does_not_say_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "sys/class/thermal/thermal_zone0/temp", "hot\n");
        write(root.path(), "proc/net/wireless", "Inter-|\n face |\n");
        write(root.path(), "sys/class/hwmon/hwmon0/name", "nvme\n");
        let version = Some(env!("CARGO_PKG_VERSION").to_owned());
        let report = Report { uptime_s: None, ..read(root.path()).report };
        assert_eq!(report, Report { version, ..Report::default() });
    }

    #[test]
    fn what_the_firmware_the_watchdog_and_the_wifi_say() {
        for (bits, found) in [
            ("0x0", Some((false, false))),
            ("50005", Some((true, true))),
            ("0x10000", Some((false, true))),
            ("0x20000", Some((true, false))),
            ("0x80008", Some((true, false))),
            ("?", None),
        ] {
            assert_eq!(throttled(bits), found, "{bits}");
        }
        for (status, found) in [("32\n", true), ("0x20", true), ("0", false), ("x", false)] {
            assert_eq!(by_watchdog(status), found, "{status}");
        }
        let dev = "phy#0\n\tInterface wlan0\n\t\tifindex 3\n\t\ttype managed\n";
        assert_eq!((wifi_device(dev), wifi_device("")), (Some("wlan0"), None));
        let link = "Connected to 00:11:22:33:44:55 (on wlan0)\n\tsignal: -52 dBm\n\t\
                    rx bitrate: 72.2 MBit/s\n\ttx bitrate: 65.0 MBit/s MCS 7\n";
        assert_eq!((wifi_rate(link), wifi_rate("Not connected.\n")), (Some(65.0), None));
    }
}
