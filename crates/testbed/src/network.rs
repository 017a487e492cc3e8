//! A network namespace with a link of its own to this machine: real IP packets between real TCP
//! stacks, carried by threads of the test, slowly, late, in part, or not at all. (Many kernels have no
//! netem.) It needs root and iproute2.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use crate::eventually::pause;

/// The longest packet of the link, in bytes, as of Ethernet and WiFi.
const MTU: usize = 1500;

/// What waits before a narrow place, in bytes: a home router has some tenths of a second.
const QUEUE: f64 = 32_000.0;

/// Packets on their way in each direction.
const MAX_PACKETS: usize = 4096;

/// How long a thread waits before it looks whether it is over, in ms.
const LOOK_MS: u16 = 50;

/// Where iproute2 keeps what belongs to a namespace (ip-netns(8)).
const FILES: &str = "/etc/netns";

/// What the link does with packets, in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// 0: as fast as it goes.
    pub bytes_per_second: u32,
    /// How long a packet is on its way.
    pub late: Duration,
    /// And up to so much longer; the order stays.
    pub jitter: Duration,
    /// Of a thousand packets, so many are lost.
    pub lost_per_mille: u32,
    /// Nothing gets through, and nobody is told.
    pub silent: bool,
    /// Longer packets are lost and nobody is told, as where a tunnel is in the way and its messages
    /// are filtered; 0: none.
    pub longest: usize,
    /// No IPv6 gets through.
    pub without_ipv6: bool,
}

#[derive(Debug, Default)]
struct State {
    rules: Rules,
    /// TCP ports inside that packets came from.
    seen: HashSet<u16>,
    /// And those that are forgotten.
    forgotten: HashSet<u16>,
}

/// See the module's documentation. It ends when it is dropped.
#[derive(Debug)]
pub struct Network {
    name: String,
    number: u16,
    state: Arc<Mutex<State>>,
    over: Arc<AtomicBool>,
    moved: AtomicBool,
    sent: Arc<AtomicU64>,
}

impl Network {
    /// Begins one, with a perfect link.
    ///
    /// # Panics
    /// This is not root, or the kernel has no namespaces or no TUN devices.
    pub fn start() -> Network {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        clear_away();
        let number = u16::try_from((id * 16 + count) % 8_192).expect("it is below");
        let name = format!("sw-{id}-{count}");
        let network = Network {
            name,
            number,
            state: Arc::default(),
            over: Arc::default(),
            moved: AtomicBool::default(),
            sent: Arc::default(),
        };
        let Network { name, .. } = &network;
        let (near, far) = (format!("sw{number}n"), format!("sw{number}f"));
        ip(&["netns", "add", name]);
        let near_device = tun(&near);
        let far_device = tun(&far);
        ip(&["link", "set", &far, "netns", name]);
        let address = |ip: IpAddr, bits| format!("{ip}/{bits}");
        for (device, inside, v4, v6) in [
            (&near, false, network.outside(), network.outside_v6()),
            (&far, true, network.inside(), network.inside_v6()),
        ] {
            let there: &[&str] = if inside { &["-n", name] } else { &[] };
            let run = |arguments: &[&str]| ip(&[there, arguments].concat());
            run(&["addr", "add", &address(v4.into(), 29), "dev", device]);
            run(&["addr", "add", &address(v6.into(), 126), "dev", device, "nodad"]);
            run(&["link", "set", device, "mtu", &MTU.to_string(), "up"]);
        }
        ip(&["-n", name, "link", "set", "lo", "up"]);
        network.names(&[]);
        network.carry(&near_device, &far_device, false);
        network.carry(&far_device, &near_device, true);
        network
    }

    /// This machine's address on the link.
    pub fn outside(&self) -> Ipv4Addr {
        self.v4(1)
    }

    /// The address inside.
    pub fn inside(&self) -> Ipv4Addr {
        self.v4(2)
    }

    fn v4(&self, host: u16) -> Ipv4Addr {
        let [high, low] = (self.number * 8 + host).to_be_bytes();
        Ipv4Addr::new(10, 213, high, low)
    }

    /// This machine's IPv6 address on the link.
    pub fn outside_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x213, self.number, 0, 0, 0, 0, 1)
    }

    fn inside_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x213, self.number, 0, 0, 0, 0, 2)
    }

    /// Changes what the link does from now on.
    pub fn rules(&self, rules: Rules) {
        self.state().rules = rules;
    }

    /// Forgets the TCP connections there are, as a router does that restarts: their packets are lost.
    pub fn forget(&self) {
        let mut state = self.state();
        let seen = std::mem::take(&mut state.seen);
        state.forgotten.extend(seen);
    }

    /// Runs `ip` inside.
    ///
    /// # Panics
    /// It fails.
    pub fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.name], arguments].concat());
    }

    /// The name of the device inside.
    pub fn device(&self) -> String {
        format!("sw{}f", self.number)
    }

    /// Takes the device inside up or down.
    ///
    /// # Panics
    /// It can't be.
    pub fn up(&self, up: bool) {
        let state = if up { "up" } else { "down" };
        self.ip(&["link", "set", &self.device(), state]);
        if up {
            // IPv6 addresses go with the link.
            self.add_v6();
        }
    }

    /// Gives the inside another IPv4 address instead of the one it has.
    ///
    /// # Panics
    /// It can't be.
    pub fn move_inside(&self) {
        let device = self.device();
        let moved = self.moved.fetch_xor(true, Ordering::Relaxed);
        let (from, to) = if moved { (3, 2) } else { (2, 3) };
        self.ip(&["addr", "del", &format!("{}/29", self.v4(from)), "dev", &device]);
        self.ip(&["addr", "add", &format!("{}/29", self.v4(to)), "dev", &device]);
    }

    fn add_v6(&self) {
        let mut command = Command::new("ip");
        let address = format!("{}/126", self.inside_v6());
        let device = self.device();
        let arguments = ["-n", &self.name, "addr", "replace", &address, "dev", &device, "nodad"];
        // It may be there still.
        let _ = command.args(arguments).output();
    }

    /// Bytes of packets that were sent from inside, whatever became of them.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Its name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets the kernel parameters of a file inside, one `name = value` in a line.
    ///
    /// # Panics
    /// There is no such parameter, or no such file.
    pub fn sysctl(&self, file: &Path) {
        let file = file.to_str().expect("a plain path");
        ip(&["netns", "exec", &self.name, "sysctl", "-q", "-p", file]);
    }

    /// What names stand for inside; all others are unknown there. There is no name server.
    ///
    /// # Panics
    /// They can't be written.
    pub fn names(&self, names: &[(&str, IpAddr)]) {
        let folder = self.files();
        fs::create_dir_all(&folder).expect("a folder of /etc");
        let lines = names.iter().map(|(name, address)| format!("{address} {name}\n"));
        let hosts: String =
            std::iter::once("127.0.0.1 localhost\n".to_owned()).chain(lines).collect();
        // In place: what runs inside has this very file mounted.
        fs::write(folder.join("hosts"), hosts).expect("a file of /etc");
        fs::write(folder.join("resolv.conf"), "").expect("a file of /etc");
        let order = "hosts: files\n";
        fs::write(folder.join("nsswitch.conf"), order).expect("a file of /etc");
    }

    /// `command`, to be run inside.
    pub fn run(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name]).arg(command.get_program());
        inside.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    fn files(&self) -> PathBuf {
        Path::new(FILES).join(&self.name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries packets one way.
    fn carry(&self, from: &File, to: &File, outwards: bool) {
        let both = from.try_clone().and_then(|from| Ok((from, to.try_clone()?)));
        let (mut from, mut to) = both.expect("a file can be cloned");
        let (packets, due) = mpsc::sync_channel::<(Instant, Vec<u8>)>(MAX_PACKETS);
        let (state, over) = (Arc::clone(&self.state), Arc::clone(&self.over));
        let sent = Arc::clone(&self.sent);
        // The same losses each time.
        let mut line = Line::new(u64::from(outwards) + 1);
        thread::spawn(move || {
            let mut packet = [0; 2 * MTU];
            while !over.load(Ordering::Relaxed) {
                let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
                if !poll(&mut fds, LOOK_MS).is_ok_and(|ready| ready > 0) {
                    continue;
                }
                let Ok(length) = from.read(&mut packet) else { continue };
                let bytes = packet.get(..length).unwrap_or_default();
                if outwards {
                    sent.fetch_add(length as u64, Ordering::Relaxed);
                }
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                let forgotten = state.passes(bytes, outwards);
                if let Some(when) = line.due(&state.rules, bytes, now()).filter(|_| !forgotten) {
                    // Where there is no room it is lost, as anywhere.
                    let _ = packets.try_send((when, bytes.to_vec()));
                }
            }
        });
        thread::spawn(move || {
            while let Ok((when, packet)) = due.recv() {
                pause(when.saturating_duration_since(now()));
                // A device that is down takes none.
                let _ = to.write_all(&packet);
            }
        });
    }
}

impl State {
    /// Notes a packet's connection; returns whether it is forgotten.
    fn passes(&mut self, packet: &[u8], outwards: bool) -> bool {
        // IPv4 without options (RFC 791), TCP's ports (RFC 9293).
        let (Some(0x45), Some(6)) = (packet.first(), packet.get(9)) else { return false };
        let at = if outwards { 20 } else { 22 };
        let Some(&[high, low]) = packet.get(at..at + 2).and_then(|port| port.first_chunk()) else {
            return false;
        };
        let port = u16::from_be_bytes([high, low]);
        if self.forgotten.contains(&port) {
            return true;
        }
        self.seen.insert(port);
        false
    }
}

/// One direction: when what was given to it comes out.
#[derive(Debug)]
struct Line {
    random: fastrand::Rng,
    /// The narrow place is busy until then.
    busy: Option<Instant>,
    last: Option<Instant>,
}

impl Line {
    fn new(seed: u64) -> Line {
        let random = fastrand::Rng::with_seed(seed);
        Line { random, busy: None, last: None }
    }

    /// `None`: it is lost.
    fn due(&mut self, rules: &Rules, packet: &[u8], now: Instant) -> Option<Instant> {
        let is_ipv6 = packet.first().is_some_and(|first| first >> 4 == 6);
        let too_long = rules.longest > 0 && packet.len() > rules.longest;
        let unlucky = self.random.u32(0..1000) < rules.lost_per_mille;
        if rules.silent || too_long || unlucky || (rules.without_ipv6 && is_ipv6) {
            return None;
        }
        let free = self.busy.map_or(now, |busy| busy.max(now));
        let out = if rules.bytes_per_second == 0 {
            free
        } else {
            let rate = f64::from(rules.bytes_per_second);
            let waiting = free.saturating_duration_since(now).as_secs_f64() * rate;
            if waiting > QUEUE {
                return None;
            }
            let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
            free + Duration::from_secs_f64(f64::from(length) / rate)
        };
        self.busy = Some(out);
        let due = out + rules.late + rules.jitter.mul_f64(self.random.f64());
        let due = self.last.map_or(due, |last| last.max(due));
        self.last = Some(due);
        Some(due)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        remove(&self.name);
    }
}

/// Its devices go with it.
fn remove(name: &str) {
    // It may be gone already.
    let _ = Command::new("ip").args(["netns", "del", name]).output();
    let _ = fs::remove_dir_all(Path::new(FILES).join(name));
}

/// Removes what tests left behind that were killed.
fn clear_away() {
    let Ok(there) = fs::read_dir("/run/netns") else { return };
    for name in there.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let id = name.strip_prefix("sw-").and_then(|rest| rest.split('-').next());
        if id.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            remove(&name);
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("iproute2 is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?} (root is needed): {said}");
}

/// A device that exists for as long as its file is open (Documentation/networking/tuntap.rst).
fn tun(name: &str) -> File {
    nix::ioctl_write_int!(tun_set_iff, b'T', 202);
    let open = || -> io::Result<File> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
        // SAFETY: all-zero is a valid `ifreq`.
        #[expect(unsafe_code, reason = "a structure of C")]
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from.cast_signed();
        }
        let flags = libc::IFF_TUN | libc::IFF_NO_PI;
        request.ifr_ifru.ifru_flags = i16::try_from(flags).map_err(io::Error::other)?;
        let address = (&raw const request).addr() as u64;
        // SAFETY: the request lives for the whole call, and the kernel reads nothing else.
        #[expect(unsafe_code, reason = "no safe wrapper: neither std nor nix has this request")]
        unsafe { tun_set_iff(file.as_raw_fd(), address) }?;
        Ok(file)
    };
    open().unwrap_or_else(|error| panic!("TUN device {name} (root is needed): {error}"))
}

#[expect(clippy::disallowed_methods, reason = "a line takes real time")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: [u8; 1000] = {
        let mut packet = [0; 1000];
        packet[0] = 0x45;
        packet
    };

    #[test]
    fn a_narrow_line_takes_its_time_and_loses_what_is_too_much() {
        let rules =
            Rules { bytes_per_second: 10_000, late: Duration::from_millis(50), ..Rules::default() };
        let (mut line, now) = (Line::new(1), now());
        let due: Vec<_> = (0..100).map_while(|_| line.due(&rules, &V4, now)).collect();
        let at = |n: usize| due[n].duration_since(now).as_millis();
        assert_eq!((at(0), at(1), at(9)), (150, 250, 1050));
        assert!((30..36).contains(&due.len()), "{}", due.len());
    }

    #[test]
    fn what_is_lost_is_the_same_each_time() {
        let rules = Rules { lost_per_mille: 30, ..Rules::default() };
        let lost = || {
            let mut line = Line::new(7);
            (0..10_000).filter(|_| line.due(&rules, &V4, now()).is_none()).count()
        };
        assert!((200..400).contains(&lost()), "{}", lost());
        assert_eq!(lost(), lost());
        let (mut line, now) = (Line::new(7), now());
        for rules in
            [Rules { silent: true, ..Rules::default() }, Rules { longest: 999, ..Rules::default() }]
        {
            assert_eq!(line.due(&rules, &V4, now), None);
        }
        let ipv6 = Rules { without_ipv6: true, ..Rules::default() };
        assert!(line.due(&ipv6, &V4, now).is_some());
        assert_eq!(line.due(&ipv6, &[0x60; 100], now), None);
    }

    #[test]
    fn it_carries_packets() {
        let network = Network::start();
        let listener = std::net::TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let reaches = |host: &str| {
            let connect = format!("exec 3<>/dev/tcp/{host}/{port}");
            let mut bash = Command::new("timeout");
            let output = network.run(bash.args(["2", "bash", "-c", &connect])).output();
            output.expect("bash is installed").status.success()
        };
        let (v4, v6) = (network.outside().to_string(), network.outside_v6().to_string());
        assert!(reaches(&v4) && reaches(&v6));
        network.rules(Rules { silent: true, ..Rules::default() });
        assert!(!reaches(&v4));
        network.rules(Rules { without_ipv6: true, ..Rules::default() });
        assert!(reaches(&v4) && !reaches(&v6));
        network.names(&[("relay.test", network.outside().into())]);
        assert!(reaches("relay.test"));
    }
}
