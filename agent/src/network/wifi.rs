//! WiFi interfaces, what they are connected to, and what they have heard (nl80211).
//!
//! Nothing here makes a radio do anything: the kernel tells what the last scan found, whoever asked
//! for it. What follows from it does not belong here.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use super::netlink::{Question, Socket, attribute, name_of, u16_of, u32_of};

// linux/nl80211.h: no crate's decoder is needed for a dozen numbers.
const CMD_GET_INTERFACE: u8 = 5;
const CMD_GET_STATION: u8 = 17;
const CMD_GET_SCAN: u8 = 32;
const ATTR_IFINDEX: u16 = 3;
const ATTR_IFNAME: u16 = 4;
const ATTR_IFTYPE: u16 = 5;
const ATTR_STA_INFO: u16 = 21;
const ATTR_BSS: u16 = 47;
const ATTR_SSID: u16 = 52;
const IFTYPE_STATION: u32 = 2;
const STA_INFO_SIGNAL: u16 = 7;
const STA_INFO_SIGNAL_AVG: u16 = 13;
const BSS_BSSID: u16 = 1;
const BSS_INFORMATION_ELEMENTS: u16 = 6;
const BSS_SIGNAL_MBM: u16 = 7;
const BSS_STATUS: u16 = 9;
const BSS_SEEN_MS_AGO: u16 = 10;
const BSS_BEACON_IES: u16 = 11;
const BSS_STATUS_ASSOCIATED: u32 = 1;

/// It is there while the kernel's WiFi is. Asked for what it has not, the kernel would start a program
/// to load it, and let us wait for that: at each look of a machine without WiFi, and while somebody
/// reloads the drivers (`ctrl_getfamily` in net/netlink/genetlink.c).
const LOADED: &str = "/sys/class/ieee80211";

/// linux/genetlink.h, `struct genlmsghdr`: command, version, two bytes unused.
const HEAD: usize = 4;

/// A WiFi interface that connects to access points, and is none itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Station {
    pub index: u32,
    pub name: String,
    /// What it is connected to.
    pub ssid: Option<Vec<u8>>,
}

/// One access point of the last scans' results. The kernel keeps each for 30 s.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Heard {
    pub bssid: Vec<u8>,
    /// Empty: it hides its name.
    pub ssid: Vec<u8>,
    pub ago: Duration,
    pub signal_dbm: Option<i16>,
    /// It is the one we are connected to.
    pub ours: bool,
}

/// The kernel's WiFi, over a socket for generic netlink.
#[derive(Debug)]
pub(super) struct Radio {
    socket: Socket,
    /// nl80211's number; another one each time that its module is loaded.
    family: Option<u16>,
}

impl Radio {
    pub(super) fn new(socket: Socket) -> Radio {
        Radio { socket, family: None }
    }

    /// Asks for all stations. There are none where there is no WiFi.
    pub(super) fn stations(&mut self) -> Result<Vec<Station>, Errno> {
        if !Path::new(LOADED).exists() {
            return Ok(Vec::new());
        }
        if self.family.is_some()
            && let Ok(stations) = self.ask(CMD_GET_INTERFACE, None, station)
        {
            return Ok(stations);
        }
        self.family = family(&mut self.socket)?;
        match self.family {
            Some(_) => self.ask(CMD_GET_INTERFACE, None, station),
            None => Ok(Vec::new()),
        }
    }

    /// Asks how well an interface hears what it is connected to.
    pub(super) fn signal(&mut self, interface: u32) -> Result<Option<i16>, Errno> {
        self.ask(CMD_GET_STATION, Some(interface), signal).map(|all| all.first().copied())
    }

    /// Asks for what an interface has heard.
    pub(super) fn heard(&mut self, interface: u32) -> Result<Vec<Heard>, Errno> {
        self.ask(CMD_GET_SCAN, Some(interface), heard)
    }

    fn ask<T>(
        &mut self,
        command: u8,
        interface: Option<u32>,
        read: fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Errno> {
        let family = self.family.ok_or(Errno::ENOENT)?;
        let question = Question::all(family, &[command, 0, 0, 0]);
        let question = match interface {
            Some(interface) => question.with(ATTR_IFINDEX, &interface.to_ne_bytes()),
            None => question,
        };
        let mut found = Vec::new();
        self.socket.ask(&question, |message| {
            found.extend(message.get(HEAD..).and_then(read));
        })?;
        Ok(found)
    }
}

fn family(socket: &mut Socket) -> Result<Option<u16>, Errno> {
    let kind = u16::try_from(libc::GENL_ID_CTRL).unwrap_or_default();
    let command = u8::try_from(libc::CTRL_CMD_GETFAMILY).unwrap_or_default();
    let [name, id] = [libc::CTRL_ATTR_FAMILY_NAME, libc::CTRL_ATTR_FAMILY_ID]
        .map(|attribute| u16::try_from(attribute).unwrap_or_default());
    let question = Question::one(kind, &[command, 1, 0, 0]).with(name, b"nl80211\0");
    let mut family = None;
    let answer = |message: &[u8]| {
        let found = message.get(HEAD..).and_then(|message| attribute(message, id));
        family = found.and_then(u16_of);
    };
    match socket.ask(&question, answer) {
        Err(Errno::ENOENT) => Ok(None),
        outcome => outcome.map(|()| family),
    }
}

fn station(message: &[u8]) -> Option<Station> {
    let is_station = attribute(message, ATTR_IFTYPE).and_then(u32_of) == Some(IFTYPE_STATION);
    Some(Station {
        // A device for WiFi Direct has none.
        index: attribute(message, ATTR_IFINDEX).and_then(u32_of).filter(|_| is_station)?,
        name: attribute(message, ATTR_IFNAME).map(name_of)?,
        ssid: attribute(message, ATTR_SSID).filter(|ssid| !ssid.is_empty()).map(<[u8]>::to_vec),
    })
}

fn signal(message: &[u8]) -> Option<i16> {
    let info = attribute(message, ATTR_STA_INFO)?;
    let level =
        attribute(info, STA_INFO_SIGNAL).or_else(|| attribute(info, STA_INFO_SIGNAL_AVG))?;
    level.first().map(|level| level.cast_signed().into())
}

fn heard(message: &[u8]) -> Option<Heard> {
    let bss = attribute(message, ATTR_BSS)?;
    let number = |kind| attribute(bss, kind).and_then(u32_of);
    let from = |kind| attribute(bss, kind).and_then(ssid).filter(|ssid| !ssid.is_empty());
    let hundredths = number(BSS_SIGNAL_MBM).map(u32::cast_signed);
    Some(Heard {
        bssid: attribute(bss, BSS_BSSID).unwrap_or_default().to_vec(),
        ssid: from(BSS_INFORMATION_ELEMENTS).or_else(|| from(BSS_BEACON_IES)).unwrap_or_default(),
        ago: Duration::from_millis(number(BSS_SEEN_MS_AGO).unwrap_or_default().into()),
        signal_dbm: hundredths.and_then(|hundredths| i16::try_from(hundredths / 100).ok()),
        ours: number(BSS_STATUS) == Some(BSS_STATUS_ASSOCIATED),
    })
}

/// The network's name in what an access point sends: element 0 (IEEE 802.11, "Elements"). Anybody
/// near can send anything.
fn ssid(mut elements: &[u8]) -> Option<Vec<u8>> {
    while let [id, length, rest @ ..] = elements {
        let (element, more) = rest.split_at_checked(usize::from(*length))?;
        if *id == 0 {
            // Some hide their name behind as many zeros.
            let hidden = element.iter().all(|byte| *byte == 0);
            return Some(if hidden { Vec::new() } else { element.to_vec() });
        }
        elements = more;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // What crate wl-nl80211 0.8.0 makes of the same: a second opinion on the numbers above.
    const STATION: &str = "0701000008000300030000000a000400776c616e300000000800010000000000080005000200\
                           00000c00990001000000000000000a000600dca632010203000008002e00050000000a003400\
                           67617264656e0000";
    const WIFI_DIRECT: &str = "070100000800010000000000080005000a0000000c0099000200000000000000";
    const OWN_ACCESS_POINT: &str =
        "0701000008000300040000000900040075617030000000000800050003000000070034006f776e00";
    const SIGNAL: &str = "1301000008000300030000000a000600020000000001000024001500080001001400000008\
                          0002000900000005000d00c400000005000700c7000000";
    const HEARD: &str = "2201000008002e000900000008000300030000000c00990001000000000000006c002f000a00\
                         0100020000000001000008000200850900000c0003000100000000000000130006000006676172\
                         64656e010282840301060013000b00000667617264656e010282840301060006000400640000\
                         0008000700bce9ffff08000a00e20400000800090001000000";

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits: Vec<u32> = hexadecimal.chars().map(|c| c.to_digit(16).unwrap()).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
    }

    #[test]
    fn what_another_decoder_agrees_with() {
        let read = |message: &str| station(&bytes(message)[HEAD..]);
        let ssid = Some(b"garden".to_vec());
        assert_eq!(read(STATION), Some(Station { index: 3, name: "wlan0".to_owned(), ssid }));
        assert_eq!((read(WIFI_DIRECT), read(OWN_ACCESS_POINT)), (None, None));
        assert_eq!(signal(&bytes(SIGNAL)[HEAD..]), Some(-57));
        let found = heard(&bytes(HEARD)[HEAD..]).unwrap();
        let expected = Heard {
            bssid: vec![2, 0, 0, 0, 0, 1],
            ssid: b"garden".to_vec(),
            ago: Duration::from_millis(1250),
            signal_dbm: Some(-57),
            ours: true,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn names_of_networks_are_any_bytes_or_none() {
        assert_eq!(ssid(&[1, 1, 0x82, 0, 2, 0xff, b'x']), Some(vec![0xff, b'x']));
        assert_eq!(ssid(&[0, 0, 1, 1, 0x82]), Some(vec![]));
        assert_eq!(ssid(&[0, 3, 0, 0, 0]), Some(vec![]));
        for none in [&[][..], &[0], &[0, 9, b'x'], &[1, 1, 0x82]] {
            assert_eq!(ssid(none), None, "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn no_access_point_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (ssid(&bytes), heard(&bytes), station(&bytes), signal(&bytes));
        }
    }

    #[test]
    fn a_machine_without_wifi_has_no_stations() {
        let mut radio = Radio::new(Socket::new(nix::sys::socket::SockProtocol::NetlinkGeneric));
        for _ in 0..2 {
            // A machine with WiFi may run this, too.
            let stations = radio.stations().unwrap();
            assert_eq!(radio.family.is_some(), Path::new(LOADED).exists());
            assert!(stations.iter().all(|station| station.index > 0));
        }
    }
}
