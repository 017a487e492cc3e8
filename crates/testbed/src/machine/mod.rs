//! A whole machine in QEMU with the kernel's real drivers, in which our units run as they do on a Pi. It
//! can hang, lose its power and reboot, which no process or container can. One of two:
//!
//! * a Debian of this machine's own architecture ([`Machine::boot`], `scripts/guest`), with whatever the
//!   test installs; the disk that it writes to is new for each machine;
//! * an arm64 machine with an SD card of ours in it ([`Machine::insert`], `scripts/image`).
//!
//! What they write to outlives reboots and power cuts.
//!
//! What the stories put into the guest, and what happens there, does not belong here.

mod card;
mod emulator;
mod payload;
mod qmp;
mod shell;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

pub use self::card::{SdCard, buildroot_card, bundle};
use self::emulator::Running;
pub use self::payload::Payload;
use self::qmp::Qmp;
pub use self::shell::Output;
use self::shell::Shell;
use crate::eventually::eventually;

/// How this machine is called inside the guest.
pub const HOST: &str = "10.0.2.2";

/// How long a boot may take until the shell answers: without KVM 15 s on an idle machine, 50 s from an SD
/// card, and the two processors are shared.
pub const BOOT: Duration = Duration::from_secs(400);

/// How long a command may take, unless a test says how long.
const COMMAND: Duration = Duration::from_secs(120);

/// Guests at the same time: this machine has two processors.
const MAX_GUESTS: usize = 2;

/// What a failed test shows of the console and of the journal.
const LAST_LINES: usize = 40;

/// The disk that is written to. A sparse file.
const STATE_MIB: u32 = 2048;

/// What the files given to `put` are cut into: a command's length is limited.
const CHUNK: usize = 48 * 1024;

/// How a machine is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its memory.
    pub memory_mib: u32,
    /// More arguments for the kernel, such as `systemd.unit=rescue.target`.
    pub kernel: Vec<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options { memory_mib: 1024, kernel: Vec::new() }
    }
}

/// What is booted.
#[derive(Debug)]
enum System {
    Guest(Options),
    Card(Box<SdCard>),
}

/// See the module's documentation. It ends when it is dropped, and with the test's process.
#[derive(Debug)]
pub struct Machine {
    folder: TempDir,
    system: System,
    running: Option<Running>,
    /// The last boot that the test knows of.
    boot: String,
    _permit: Permit,
}

impl Machine {
    /// Boots one that has what `payload` holds, and waits until its shell answers; the services may
    /// still be starting (see [`Machine::settled`]). Waits for its turn if there are others.
    ///
    /// # Panics
    /// It does not come up.
    pub fn boot(payload: &Payload, options: &Options) -> Machine {
        let mut machine = Machine::off(System::Guest(options.clone()), Permit::wait());
        payload.make_image(&machine.folder.path().join("payload.img"));
        make_filesystem(&machine.folder.path().join("state.img"), STATE_MIB, &[]);
        machine.power_on();
        machine
    }

    /// Boots one with `card` in it, which it keeps, and waits until its shell answers.
    ///
    /// # Panics
    /// It does not come up.
    pub fn insert(card: SdCard) -> Machine {
        let mut machine = Machine::without_power(card);
        machine.power_on();
        machine
    }

    /// One with `card` in it, which it keeps, and no power yet.
    ///
    /// # Panics
    /// There is no room.
    pub fn without_power(card: SdCard) -> Machine {
        Machine::off(System::Card(Box::new(card)), Permit::wait())
    }

    fn off(system: System, permit: Permit) -> Machine {
        let folder = tempfile::tempdir().expect("a temporary directory");
        Machine { folder, system, running: None, boot: String::new(), _permit: permit }
    }

    /// The card in it. Only while the power is off are its contents what they seem.
    ///
    /// # Panics
    /// There is none.
    pub fn card(&self) -> &SdCard {
        assert!(self.running.is_none(), "power_cut() before the card is taken out");
        match &self.system {
            System::Card(card) => card,
            System::Guest(_) => panic!("this machine has no card"),
        }
    }

    /// Runs a bash command as root, and returns what it wrote to both outputs.
    ///
    /// # Panics
    /// It fails, or takes longer than two minutes.
    pub fn run(&self, command: &str) -> String {
        self.run_within(COMMAND, command)
    }

    /// The same with a limit of its own.
    ///
    /// # Panics
    /// As above.
    pub fn run_within(&self, deadline: Duration, command: &str) -> String {
        match self.shell().run(command, deadline) {
            Ok(output) if output.status == 0 => output.text,
            Ok(output) => panic!("`{command}` ended with {}: {}", output.status, output.text),
            Err(trouble) => {
                let console = self.console();
                panic!("waited for `{command}`: {trouble}; last on the console:\n{console}")
            }
        }
    }

    /// Runs a command that may fail, or during which the machine may go down.
    ///
    /// # Errors
    /// There is no answer: the machine rebooted, or `deadline` is over.
    pub fn try_run(&self, deadline: Duration, command: &str) -> Result<Output, String> {
        self.shell().run(command, deadline).map_err(|trouble| trouble.to_string())
    }

    /// Begins a command that takes the machine down, and waits for nothing.
    pub fn begin(&self, command: &str) {
        // It may well have done its work before it could answer.
        let _ = self.shell().run(command, Duration::ZERO);
    }

    /// Runs a command again and again until it succeeds, over reboots, too. Returns what it wrote.
    ///
    /// # Panics
    /// It does not within `deadline`; the message holds what it said last.
    pub fn eventually(&self, what: &str, deadline: Duration, command: &str) -> String {
        eventually(what, deadline, || match self.try_run(COMMAND, command)? {
            output if output.status == 0 => Ok(output.text),
            output => Err(format!("{} {}", output.status, output.text)),
        })
    }

    /// Waits until everything that starts with the system has started, or failed to. Returns what
    /// `systemctl is-system-running` says: `running`, or `degraded` if a unit failed.
    ///
    /// # Panics
    /// It does not end.
    pub fn settled(&self) -> String {
        let command = "systemctl is-system-running --wait || true";
        self.run_within(BOOT, command).trim().to_owned()
    }

    /// How long it has been up.
    ///
    /// # Panics
    /// It does not answer.
    pub fn uptime(&self) -> Duration {
        let text = self.run("cut -d' ' -f1 /proc/uptime");
        Duration::from_secs_f64(text.trim().parse().expect("seconds"))
    }

    /// The kernel's id of this boot.
    ///
    /// # Panics
    /// It does not answer.
    pub fn boot_id(&self) -> String {
        self.run("cat /proc/sys/kernel/random/boot_id").trim().to_owned()
    }

    /// Waits until it has rebooted, since the test last knew of a boot, and the shell answers again.
    ///
    /// # Panics
    /// It does not within `deadline`.
    pub fn wait_for_reboot(&mut self, deadline: Duration) {
        let boot = self.shell().other_boot(&self.boot, deadline);
        self.boot = boot.unwrap_or_else(|| {
            panic!("waited {deadline:?} for a reboot; last on the console:\n{}", self.console())
        });
    }

    /// Presses the reset button, and waits for the shell.
    ///
    /// # Panics
    /// It does not come up.
    pub fn reset(&mut self) {
        self.qmp().execute("system_reset");
        self.wait_for_reboot(BOOT);
    }

    /// A non-maskable interrupt, to each processor.
    ///
    /// # Panics
    /// QEMU does not take it.
    pub fn nmi(&self) {
        self.qmp().execute("inject-nmi");
    }

    /// Plugs the network's cable in, or out.
    ///
    /// # Panics
    /// QEMU does not take it.
    pub fn cable(&self, plugged: bool) {
        let arguments = format!("{{\"name\": \"net\", \"up\": {plugged}}}");
        self.qmp().execute_with("set_link", &arguments);
    }

    /// Plugs a USB stick with this file on it into the port that [`SdCard::with_usb_port`] has.
    ///
    /// # Panics
    /// There is none, or one is plugged in already.
    pub fn plug_stick(&self, file: &Path) {
        let stick = card::make_stick(self.folder.path(), file);
        let path = stick.display();
        let mut qmp = self.qmp();
        let drive = format!(
            "{{\"driver\": \"raw\", \"node-name\": \"stick\", \"read-only\": true, \
             \"file\": {{\"driver\": \"file\", \"filename\": \"{path}\"}}}}"
        );
        qmp.execute_with("blockdev-add", &drive);
        let device = "{\"driver\": \"usb-storage\", \"drive\": \"stick\", \"bus\": \"usb.0\"}";
        qmp.execute_with("device_add", device);
    }

    /// Takes the power away: what the guest had not written to its disk is lost.
    pub fn power_cut(&mut self) {
        self.running = None;
    }

    /// Gives the power back, with the disk as it is, and waits for the shell.
    ///
    /// # Panics
    /// It does not come up.
    pub fn power_on(&mut self) {
        self.start();
        self.wait_for_reboot(BOOT);
    }

    fn start(&mut self) {
        self.running = Some(Running::start(self.folder.path(), &self.system));
        if matches!(&self.system, System::Card(card) if !card.has_cable()) {
            self.cable(false);
        }
    }

    /// Takes the power away after that long.
    #[expect(clippy::disallowed_methods, reason = "it is what this is for")]
    pub fn power_cut_in(&mut self, time: Duration) {
        std::thread::sleep(time);
        self.power_cut();
    }

    /// Gives the power back for that long only.
    ///
    /// # Panics
    /// QEMU does not start.
    pub fn power_on_for(&mut self, time: Duration) {
        self.start();
        self.power_cut_in(time);
    }

    /// What `journalctl` says with these arguments, such as `-b -1 -u stillwatch-agent`.
    ///
    /// # Panics
    /// It fails.
    pub fn journal(&self, arguments: &str) -> String {
        self.run(&format!("journalctl --no-pager {arguments}"))
    }

    /// Writes a file, in a folder that may be new.
    ///
    /// # Panics
    /// It can't be written.
    pub fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        self.run(&format!("mkdir -p \"$(dirname '{path}')\" && : >'{path}'"));
        for chunk in bytes.as_ref().chunks(CHUNK) {
            let text = STANDARD.encode(chunk);
            self.run(&format!("base64 --decode <<<'{text}' >>'{path}'"));
        }
    }

    /// The last lines of the serial console, where the kernel and systemd write.
    pub fn console(&self) -> String {
        last_lines(&self.folder.path().join("console.log"))
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("power_on() after power_cut()")
    }

    fn shell(&self) -> &Shell {
        &self.running().shell
    }

    fn qmp(&self) -> Qmp {
        Qmp::connect(&self.folder.path().join("qmp"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!("---- the guest's console:\n{}", self.console());
        if let Some(running) = &self.running {
            let command = format!("journalctl --no-pager -o short-monotonic -n {LAST_LINES}");
            match running.shell.run(&command, Duration::from_secs(20)) {
                Ok(output) => eprintln!("---- the guest's journal:\n{}", output.text),
                Err(trouble) => eprintln!("---- the guest's journal: {trouble}"),
            }
        }
    }
}

fn make_filesystem(path: &Path, mib: u32, arguments: &[&str]) {
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-t", "ext4", "-m", "0"]).args(arguments);
    command.arg(path).arg(format!("{mib}M"));
    let output = command.output().expect("mke2fs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "mke2fs {}: {errors}", path.display());
}

fn last_lines(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| error.to_string().into_bytes());
    let text = String::from_utf8_lossy(&bytes).replace('\r', "");
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
}

static GUESTS: Mutex<usize> = Mutex::new(0);
static ONE_LESS: Condvar = Condvar::new();

#[derive(Debug)]
struct Permit;

impl Permit {
    fn wait() -> Permit {
        let guests = GUESTS.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |guests: &mut usize| *guests >= MAX_GUESTS;
        let guests = ONE_LESS.wait_while(guests, full);
        *guests.unwrap_or_else(PoisonError::into_inner) += 1;
        Permit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *GUESTS.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ONE_LESS.notify_one();
    }
}
