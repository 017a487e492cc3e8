//! The WiFi's real hooks, on a fake sysfs and with programs that only write down how they are called.

use std::fs;

use runtime::heal::{Outcome, Verb};

use crate::stage::Stage;

const WLAN: Option<&str> = Some("wlan0");
const HOST: &str = "/sys/devices/platform/fe300000.mmcnr";
const MODULE: &str = "/sys/module/brcmfmac";

/// A Raspberry Pi's WiFi: SDIO, brcmfmac with a helper module on top.
fn sdio() -> Stage {
    let stage = Stage::new();
    let chip = format!("{HOST}/mmc_host/mmc1/mmc1:0001/mmc1:0001:1");
    let (driver, host_driver) =
        ("/sys/bus/sdio/drivers/brcmfmac", "/sys/bus/platform/drivers/mmc-bcm2835");
    stage.file("/sys/class/net/wlan0/phy80211/index", "0");
    stage.file(&format!("{chip}/vendor"), "0x02d0");
    stage.link("/sys/class/net/wlan0/device", &chip);
    stage.link(&format!("{chip}/driver"), driver);
    fs::create_dir_all(stage.path(driver)).unwrap();
    stage.link(&format!("{driver}/module"), MODULE);
    stage.file(&format!("{MODULE}/holders/.keep"), "");
    stage.file("/sys/module/brcmfmac_wcc/holders/.keep", "");
    stage.link(&format!("{MODULE}/holders/brcmfmac_wcc"), "/sys/module/brcmfmac_wcc");
    for file in ["bind", "unbind"] {
        stage.file(&format!("{host_driver}/{file}"), "");
    }
    stage.link(&format!("{HOST}/driver"), host_driver);
    stage.tools(&["sleep", "ip", "wpa_cli"]);
    stage.tool("iw", "case \"$*\" in *link) printf '\\tSSID: x\\n\\tfreq: 2437\\n' ;; esac");
    stage.tool("nmcli", "exit 10");
    stage.tool("systemctl", "[ \"$1\" != is-active ] || [ \"$3\" = wpa_supplicant@wlan0.service ]");
    stage
}

/// The calls of these tools only.
fn calls_of(stage: &Stage, names: &[&str]) -> Vec<String> {
    let of = |call: &String| names.iter().any(|name| call.split(' ').next() == Some(name));
    stage.calls().into_iter().filter(of).collect()
}

fn forget(stage: &Stage) {
    let _ = fs::remove_file(stage.path("calls"));
}

#[test]
fn wifi_tune_switches_power_saving_off_and_remembers() {
    let stage = sdio();
    stage.file("/etc/stillwatch/country", "de\n");
    let healer = stage.serve();
    healer.expect(Verb::WifiTune, WLAN, Outcome::Done);
    let expected = [
        "iw dev wlan0 link",
        "iw reg set DE",
        "iw dev wlan0 get power_save",
        "iw dev wlan0 set power_save off",
    ];
    assert_eq!(calls_of(&stage, &["iw"]), expected);
    let kept =
        |name: &str| stage.read(&format!("run/heal/wifi/wlan0/{name}")).trim_end().to_owned();
    assert_eq!((kept("module"), kept("frequency")), ("brcmfmac".to_owned(), "2437".to_owned()));
    assert!(kept("device").ends_with("/mmc1:0001:1"), "{}", kept("device"));
    assert_eq!(kept("unit"), "wpa_supplicant@wlan0");
}

#[test]
fn the_country_is_what_somebody_said() {
    let stage = sdio();
    let healer = stage.serve();
    let set = || {
        forget(&stage);
        healer.expect(Verb::WifiRescan, WLAN, Outcome::Done);
        calls_of(&stage, &["iw"]).into_iter().find(|call| call.starts_with("iw reg set"))
    };
    assert_eq!(set(), None);
    stage.tool("iw", "[ \"$*\" != 'reg get' ] || printf 'global\\ncountry FR: DFS-ETSI\\n'");
    assert_eq!(set().as_deref(), Some("iw reg set FR"));
    stage.tool("iw", "[ \"$*\" != 'reg get' ] || printf 'global\\ncountry 00: DFS-UNSET\\n'");
    assert_eq!(set(), None);
    stage.file("/proc/cmdline", "quiet cfg80211.ieee80211_regdom=GB root=/dev/mmcblk0p2\n");
    assert_eq!(set().as_deref(), Some("iw reg set GB"));
    stage.tool("wpa_cli", "[ \"$4\" != country ] || echo AT");
    assert_eq!(set().as_deref(), Some("iw reg set AT"));
    stage.file("/etc/stillwatch/country", "; reboot\n");
    assert_eq!(set().as_deref(), Some("iw reg set AT"));
}

#[test]
fn wifi_reassociate_looks_where_it_was_and_ends_the_back_off() {
    let stage = sdio();
    let healer = stage.serve();
    healer.expect(Verb::WifiTune, WLAN, Outcome::Done);
    stage.tool(
        "wpa_cli",
        "case $3 in
            status) echo wpa_state=SCANNING ;;
            list_networks) printf 'network id / ssid\\n0\\thome\\tany\\t[TEMP-DISABLED]\\n1\\tyard\\tany\\t\\n' ;;
        esac",
    );
    let turn = || {
        forget(&stage);
        healer.expect(Verb::WifiReassociate, WLAN, Outcome::Done);
        let calls = calls_of(&stage, &["wpa_cli"]);
        let calls = calls.iter().map(|call| call.trim_start_matches("wpa_cli -i wlan0 "));
        calls.collect::<Vec<_>>().join(", ")
    };
    let enabled = "status, list_networks, disable_network 0, enable_network 0";
    let one = format!("{enabled}, scan freq=2437");
    let all = format!("{enabled}, reassociate");
    assert_eq!([turn(), turn(), turn(), turn()], [one.clone(), one.clone(), all, one]);
    let all = "wpa_cli -i wlan0 reassociate";
    let connected = |status: &str| {
        stage.tool("wpa_cli", &format!("[ $3 != status ] || printf '{status}\\n'"));
        stage.file("run/heal/wifi/wlan0/turn", "0\n");
        forget(&stage);
        healer.expect(Verb::WifiReassociate, WLAN, Outcome::Done);
        calls_of(&stage, &["wpa_cli"]).split_off(2)
    };
    assert_eq!(connected("wpa_state=COMPLETED\\nip_address=10.0.0.7"), [all]);
    assert!(connected("wpa_state=COMPLETED").is_empty(), "DHCP is at work");
    assert!(connected("wpa_state=4WAY_HANDSHAKE").is_empty(), "it is connecting");
}

#[test]
fn wifi_reassociate_with_networkmanager_disturbs_nothing() {
    let stage = sdio();
    stage.tool("wpa_cli", "exit 255");
    let healer = stage.serve();
    healer.expect(Verb::WifiReassociate, WLAN, Outcome::Unavailable);
    for (state, connect) in
        [("30 (disconnected)", true), ("50 (connecting)", false), ("100 (connected)", false)]
    {
        stage.tool("nmcli", &format!("[ \"$1\" != -g ] || echo '{state}'"));
        forget(&stage);
        healer.expect(Verb::WifiReassociate, WLAN, Outcome::Done);
        let calls = calls_of(&stage, &["nmcli"]);
        let asked = calls.contains(&"nmcli --wait 0 device connect wlan0".to_owned());
        assert_eq!(asked, connect, "{state}: {calls:?}");
    }
}

#[test]
fn wifi_cycle_unblocks_and_goes_down_and_up() {
    let stage = sdio();
    for (number, kind) in [("0", "bluetooth"), ("1", "wlan")] {
        stage.file(&format!("/sys/class/rfkill/rfkill{number}/type"), &format!("{kind}\n"));
        stage.file(&format!("/sys/class/rfkill/rfkill{number}/soft"), "1\n");
    }
    let healer = stage.serve();
    healer.expect(Verb::WifiCycle, WLAN, Outcome::Done);
    assert_eq!(stage.calls(), ["ip link set wlan0 down", "sleep 1", "ip link set wlan0 up"]);
    assert_eq!(stage.read("/sys/class/rfkill/rfkill0/soft"), "1\n");
    assert_eq!(stage.read("/sys/class/rfkill/rfkill1/soft"), "0\n");
}

#[test]
fn wifi_restart_restarts_what_runs() {
    let stage = sdio();
    let healer = stage.serve();
    let last = |active: &str, enabled: &str| {
        stage.tool(
            "systemctl",
            &format!(
                "case $1 in is-active) [ \"$3\" = {active}.service ] ;; is-enabled) [ \"$3\" = \
                 {enabled}.service ] ;; esac"
            ),
        );
        forget(&stage);
        let outcome = healer.ask(Verb::WifiRestart, WLAN).outcome;
        let mut calls = stage.calls().into_iter().filter(|call| call.contains("restart"));
        (outcome, calls.next_back().unwrap_or_default())
    };
    let restart = |unit: &str| (Outcome::Done, format!("systemctl restart {unit}.service"));
    assert_eq!(last("none", "none"), (Outcome::Unavailable, String::new()));
    assert_eq!(last("none", "wpa_supplicant@wlan0"), restart("wpa_supplicant@wlan0"));
    assert_eq!(last("iwd", "none"), restart("iwd"));
    assert_eq!(last("wpa_supplicant", "none"), restart("wpa_supplicant"));
    assert_eq!(last("NetworkManager", "none"), restart("NetworkManager"));
    stage.tool("nmcli", "");
    assert_eq!(last("NetworkManager", "none"), (Outcome::Done, String::new()));
    let expected = [
        "nmcli --wait 5 device set wlan0 managed no",
        "nmcli --wait 5 device set wlan0 managed yes",
    ];
    assert_eq!(calls_of(&stage, &["nmcli"]), expected);
}

#[test]
fn wifi_reload_removes_the_users_first_and_tries_three_times() {
    let stage = sdio();
    // Fails twice; what is removed takes the interface with it, what is loaded brings it back.
    stage.tool(
        "modprobe",
        "cd $STAGE
        case $* in
            *brcmfmac_wcc) rm sys/module/brcmfmac/holders/brcmfmac_wcc; rm -r sys/module/brcmfmac_wcc ;;
            '-r brcmfmac')
                echo x >>tries
                [ $(wc -l <tries) = 3 ] || exit 1
                mv sys/class/net/wlan0 gone; rm -r sys/module/brcmfmac
                ;;
            brcmfmac) mv gone sys/class/net/wlan0 ;;
        esac",
    );
    let healer = stage.serve();
    healer.expect(Verb::WifiReload, WLAN, Outcome::Done);
    let expected = [
        "modprobe -r brcmfmac_wcc",
        "modprobe -r brcmfmac",
        "sleep 2",
        "modprobe -r brcmfmac",
        "sleep 2",
        "modprobe -r brcmfmac",
        "modprobe brcmfmac",
    ];
    assert_eq!(calls_of(&stage, &["modprobe", "sleep"]), expected);
    assert_eq!(stage.calls().last().unwrap(), "systemctl restart wpa_supplicant@wlan0.service");
}

#[test]
fn wifi_reload_of_an_interface_that_is_gone_goes_by_memory() {
    let stage = sdio();
    let healer = stage.serve();
    healer.expect(Verb::WifiTune, WLAN, Outcome::Done);
    fs::remove_dir_all(stage.path("/sys/class/net/wlan0")).unwrap();
    stage.tool("modprobe", "[ $1 = -r ] || mkdir $STAGE/sys/class/net/wlan0");
    healer.expect(Verb::WifiReload, WLAN, Outcome::Done);
    fs::remove_dir_all(stage.path("/sys/class/net/wlan0")).unwrap();
    stage.tool("modprobe", "");
    let said = healer.expect(Verb::WifiReload, WLAN, Outcome::Failed);
    assert!(said.ends_with("brcmfmac is loaded again, but wlan0 did not come back"), "{said}");
    assert_eq!(calls_of(&stage, &["sleep"]).len(), 15);
    fs::remove_dir_all(stage.path("run/heal/wifi/wlan0")).unwrap();
    healer.expect(Verb::WifiReload, WLAN, Outcome::Refused);
}

#[test]
fn wifi_rebind_on_sdio_rebinds_the_host() {
    let stage = sdio();
    let driver = "/sys/bus/platform/drivers/mmc-bcm2835";
    stage.tool("sleep", &format!("echo \"bound <$(cat $STAGE{driver}/bind)>\" >>$STAGE/calls"));
    let healer = stage.serve();
    healer.expect(Verb::WifiRebind, WLAN, Outcome::Done);
    for file in ["unbind", "bind"] {
        assert_eq!(stage.read(&format!("{driver}/{file}")), "fe300000.mmcnr\n");
    }
    assert!(stage.calls().contains(&"bound <>".to_owned()));
    assert_eq!(stage.calls().last().unwrap(), "systemctl restart wpa_supplicant@wlan0.service");
    // Cut off halfway: no driver, no interface.
    fs::remove_file(stage.path(&format!("{HOST}/driver"))).unwrap();
    fs::rename(stage.path("/sys/class/net/wlan0"), stage.path("gone")).unwrap();
    stage.file(&format!("{driver}/bind"), "");
    stage.tool("sleep", "mv $STAGE/gone $STAGE/sys/class/net/wlan0");
    healer.expect(Verb::WifiRebind, WLAN, Outcome::Done);
    assert_eq!(stage.read(&format!("{driver}/bind")), "fe300000.mmcnr\n");
}
