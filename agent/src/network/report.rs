//! What the agent thinks of the network, for its owner: `stillwatch-agent network`.

use std::time::Duration;

use runtime::clock;
use runtime::settings::duration_text;
use serde::Serialize;

use super::{AccessPoint, Blame, Facts, Gateway, Sight, Watch, Wifi, Wire, judge};

/// How long between two looks at a router that has yet to answer, and how many: the kernel takes up
/// to 8 s to be sure.
const AGAIN: Duration = Duration::from_secs(1);
const LOOKS: usize = 10;

/// What is printed as JSON; times are ages.
#[derive(Debug, Serialize)]
struct Report<'a> {
    sight: Sight,
    wire: Wire,
    gateway: Gateway,
    wifi: Option<WifiReport<'a>>,
    /// Whose fault it would be if uploads failed now.
    blame: String,
    sentence: String,
}

#[derive(Debug, Serialize)]
struct WifiReport<'a> {
    interface: &'a str,
    present: bool,
    up: bool,
    associated: bool,
    address: bool,
    ssid: Option<&'a str>,
    signal_dbm: Option<i16>,
    access_point: &'static str,
    last_heard_ms: Option<u64>,
    heard: usize,
}

/// Looks at the network and prints what is seen. Returns the exit status: 0 if all is well as far as
/// it can be seen from here, 1 if not, 2 if it can't be seen.
pub(crate) fn report(json: bool) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("can't start the async runtime: {error}");
            return 2;
        }
    };
    let facts = runtime.block_on(look());
    // A look may still be stuck in the kernel.
    runtime.shutdown_background();
    let blame = judge(&facts, false);
    if json {
        let report = Report {
            sight: facts.sight,
            wire: facts.wire,
            gateway: facts.gateway,
            wifi: facts.wifi.as_ref().map(WifiReport::of),
            blame: format!("{blame:?}"),
            sentence: blame.sentence(&facts),
        };
        // Our own structures always serialise.
        println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        println!("{}", text(&facts, blame));
    }
    match blame {
        Blame::Nobody | Blame::OutThere => 0,
        Blame::Unseen => 2,
        Blame::Wifi(_) | Blame::AccessPointGone | Blame::Wired(_) => 1,
    }
}

/// Looks until the router has answered, or has had its time.
async fn look() -> Facts {
    let mut watch = Watch::default();
    let mut facts = watch.look(true).await;
    for _ in 1..LOOKS {
        if matches!(facts.gateway, Gateway::Answers | Gateway::NoRoute) {
            break;
        }
        let before = facts.gateway;
        tokio::time::sleep(AGAIN).await;
        facts = watch.look(true).await;
        // It may just have been asked for the first time: once is no silence.
        if (before, facts.gateway) == (Gateway::Silent, Gateway::Silent) {
            break;
        }
    }
    facts
}

impl WifiReport<'_> {
    fn of(wifi: &Wifi) -> WifiReport<'_> {
        let age = |when| clock::mono().since(when).as_millis();
        WifiReport {
            interface: &wifi.interface,
            present: wifi.present,
            up: wifi.up,
            associated: wifi.associated,
            address: wifi.address,
            ssid: wifi.ssid.as_deref(),
            signal_dbm: wifi.signal_dbm,
            access_point: match wifi.access_point {
                AccessPoint::Seen(_) => "seen",
                AccessPoint::NotSeen => "not-seen",
                AccessPoint::Unknown => "unknown",
            },
            last_heard_ms: wifi.last_heard.and_then(|when| u64::try_from(age(when)).ok()),
            heard: wifi.heard,
        }
    }
}

/// One line for each thing, and the judgement.
fn text(facts: &Facts, blame: Blame) -> String {
    let wire = match facts.wire {
        Wire::Absent => "none",
        Wire::NoCarrier => "not connected",
        Wire::NoAddress => "connected, no address",
        Wire::NoRoute => "connected, has an address, is not the way out",
        Wire::Carries => "is the way out",
    };
    let router = match facts.gateway {
        Gateway::NoRoute => "no default route",
        Gateway::Unknown => "has not been asked of late",
        Gateway::Answers => "answers",
        Gateway::Silent => "does not answer",
    };
    let wifi = facts.wifi.as_ref().map_or("none".to_owned(), wifi_text);
    format!("wire: {wire}\nwifi: {wifi}\nrouter: {router}\n{}", blame.sentence(facts))
}

fn wifi_text(wifi: &Wifi) -> String {
    let Wifi { interface, present, up, associated, .. } = wifi;
    let link = match (present, up, associated) {
        (false, _, _) => "gone",
        (true, false, _) => "down",
        (true, true, false) => "not connected",
        (true, true, true) => "connected",
    };
    let mut text = format!("{interface}, {link}");
    if let Some(ssid) = &wifi.ssid {
        let relation = if *associated { " to" } else { ", was" };
        text += &format!("{relation} {ssid:?}");
    }
    if let Some(signal) = wifi.signal_dbm {
        text += &format!(" at {signal} dBm");
    }
    if *associated && !wifi.address {
        text += ", no address";
    }
    if let (false, Some(when)) = (*associated, wifi.last_heard) {
        let age = Duration::from_secs(clock::mono().since(when).as_secs());
        text += &format!(", heard {} ago", duration_text(age));
    }
    text + &format!("; networks heard: {}", wifi.heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed() {
        let wifi = Wifi {
            interface: "wlan0".to_owned(),
            present: true,
            up: true,
            associated: true,
            address: true,
            ssid: Some("garden".to_owned()),
            signal_dbm: Some(-57),
            access_point: AccessPoint::Seen(clock::mono()),
            last_heard: Some(clock::mono()),
            heard: 4,
        };
        let facts = |wifi, gateway| Facts {
            at: clock::mono(),
            sight: Sight::Whole,
            wire: Wire::Absent,
            wifi: Some(wifi),
            gateway,
        };
        let good = facts(wifi.clone(), Gateway::Answers);
        let expected = "wire: none\n\
                        wifi: wlan0, connected to \"garden\" at -57 dBm; networks heard: 4\n\
                        router: answers\n\
                        the network works as far as the router: what fails is beyond it";
        assert_eq!(text(&good, judge(&good, false)), expected);
        let idle = Wifi { associated: false, address: false, signal_dbm: None, heard: 0, ..wifi };
        let bad = facts(idle, Gateway::NoRoute);
        let expected = "wire: none\n\
                        wifi: wlan0, not connected, was \"garden\", heard 0s ago; \
                        networks heard: 0\n\
                        router: no default route\n\
                        wlan0 is not connected though the access point \"garden\" is heard";
        assert_eq!(text(&bad, judge(&bad, false)), expected);
    }
}
