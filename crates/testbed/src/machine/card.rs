//! The SD card that `scripts/image` makes, in a machine of QEMU's (`-M virt`, arm64, U-Boot).
//!
//! Nothing in the image is made for tests. The way in are systemd's credentials, which QEMU hands over by
//! fw_cfg (`docs/image.md`): units of the test's, which run programs from two disks that a Pi does not
//! have. One holds Debian programs (`scripts/test.d/card-tools`) and is mounted at `/run/tools`, the other one
//! the test's own files, at `/usr/lib/guest`, in the memory that lies over the root.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use super::emulator::disk;
use super::payload::Payload;
use crate::eventually::eventually;
use crate::program::Program;
use crate::{made_by, of_repository};

/// As small as cards were 15 years ago; the image is smaller.
const SIZE: u64 = 2 << 30;

/// In an MBR, of the four partitions' entries.
const TABLE: Range<usize> = 446..510;

/// Of each: from the 8th byte on, first block and length in blocks of 512 bytes.
const ENTRY: usize = 16;

/// Of a Pi 3 or Zero 2 W there are 1024 and 512.
const MEMORY_MIB: u32 = 1024;

/// As on the FAT partition.
const PI_DEVICE_TREE: &str = "bcm2837-rpi-3-b.dtb";

/// What a unit's name begins with in fw_cfg, where 55 characters are all.
const CREDENTIALS: &str = "opt/io.systemd.credentials";

/// The two disks of the tests.
const DISKS: &str = "[Unit]
DefaultDependencies=no
After=systemd-remount-fs.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'for disk in /sys/block/vd*; do case $(cat $disk/serial) in \
    test) mount --mkdir -t ext4 -o ro /dev/$(basename $disk) /usr/lib/guest ;; \
    tools) mount --mkdir -t ext4 -o ro /dev/$(basename $disk) /run/tools ;; esac; done'
";

/// What each unit of a test has beside its own text.
const AFTER_DISKS: &str = "
[Unit]
Requires=d.service
After=d.service
[Service]
Environment=HOME=/root LC_ALL=C.UTF-8 SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat SYSTEMD_URLIFY=0
Environment=LD_LIBRARY_PATH=/run/tools/usr/lib/aarch64-linux-gnu
Environment=PATH=/usr/sbin:/usr/bin:/run/tools/usr/sbin:/run/tools/usr/bin
";

/// The test bed's root shell, as early as it can be. What a test leaves running goes on.
const SHELL: &str = "[Unit]
DefaultDependencies=no
[Service]
ExecStartPre=-/usr/sbin/modprobe virtio_console
ExecStart=/bin/bash /usr/lib/guest/shell
Restart=always
KillMode=process
TasksMax=infinity
OOMScoreAdjust=-1000
";

/// A card with the image on it, and what is plugged into its machine beside it.
#[derive(Debug)]
pub struct SdCard {
    folder: TempDir,
    /// What it was flashed with, and what starts it.
    image: PathBuf,
    units: Vec<(char, String)>,
    files: Payload,
    clock: String,
    cable: bool,
    usb: bool,
}

impl SdCard {
    /// A card that was just flashed.
    ///
    /// # Panics
    /// There is no image, or no room for it.
    pub fn flashed() -> SdCard {
        SdCard::flashed_with(images())
    }

    /// One that was flashed with the image in a folder.
    ///
    /// # Panics
    /// There is no image, or no room for it.
    pub fn flashed_with(image: &Path) -> SdCard {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut files = fs::read_dir(image).expect("the image's folder").flatten();
        let file = files
            .find(|entry| entry.path().extension() == Some(OsStr::new("img")))
            .expect("an image");
        let card = folder.path().join("card.img");
        did(Command::new("cp").arg("--sparse=always").arg(file.path()).arg(&card));
        File::options().write(true).open(&card).and_then(|card| card.set_len(SIZE)).expect("room");
        let clock = "utc".to_owned();
        let shell = of_repository("scripts/guest.d/shell");
        let files = Payload::new().install(&shell, "/shell", 0o755);
        let units = Vec::new();
        let image = image.to_owned();
        let card = SdCard { folder, image, units, files, clock, cable: true, usb: false };
        card.with_unit('d', DISKS).with('x', SHELL)
    }

    /// With a unit of the test's own. One letter is all the room there is for a name.
    #[must_use]
    pub fn with(self, name: char, unit: &str) -> SdCard {
        self.with_unit(name, &format!("{unit}{AFTER_DISKS}"))
    }

    fn with_unit(mut self, name: char, unit: &str) -> SdCard {
        self.units.push((name, unit.to_owned()));
        self
    }

    /// With what `put` adds to the files at `/usr/lib/guest`.
    #[must_use]
    pub fn beside(self, put: impl FnOnce(Payload) -> Payload) -> SdCard {
        SdCard { files: put(self.files), ..self }
    }

    /// With a clock that says this when the power comes, such as `2020-01-01T00:00:00`.
    #[must_use]
    pub fn with_clock(mut self, clock: &str) -> SdCard {
        clock.clone_into(&mut self.clock);
        self
    }

    /// Without a network's cable, when the power comes next.
    #[must_use]
    pub fn without_cable(mut self) -> SdCard {
        self.cable = false;
        self
    }

    /// With a USB port, which sticks can be plugged into.
    #[must_use]
    pub fn with_usb_port(mut self) -> SdCard {
        self.usb = true;
        self
    }

    /// Writes a file of the FAT partition, as any computer would.
    ///
    /// # Panics
    /// It can't be written.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let file = self.folder.path().join("file");
        fs::write(&file, contents).expect("room");
        did(self.mtool("mcopy").arg("-o").arg(&file).arg(format!("::{name}")));
    }

    /// Puts a file of this machine onto the FAT partition, as it is called here.
    ///
    /// # Panics
    /// It can't be read, or there is no room.
    pub fn bring(&self, file: &Path) {
        did(self.mtool("mcopy").arg("-o").arg(file).arg("::"));
    }

    /// Removes a file from it.
    ///
    /// # Panics
    /// There is none.
    pub fn remove(&self, name: &str) {
        did(self.mtool("mdel").arg(format!("::{name}")));
    }

    /// Whether a partition holds nothing but zeros.
    ///
    /// # Panics
    /// It can't be read.
    pub fn is_blank(&self, number: usize) -> bool {
        let card = File::open(self.path()).expect("a card");
        let mut piece = vec![0; 1 << 20];
        let range = self.partition(number);
        let mut pieces = range.step_by(piece.len());
        pieces.all(|at| {
            card.read_exact_at(&mut piece, at).expect("a partition of whole MiB");
            piece.iter().all(|byte| *byte == 0)
        })
    }

    /// Reads one.
    ///
    /// # Panics
    /// There is none.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8(self.read_bytes(name)).expect("a text")
    }

    /// Reads one, whatever is in it.
    ///
    /// # Panics
    /// There is none.
    pub fn read_bytes(&self, name: &str) -> Vec<u8> {
        did(self.mtool("mcopy").arg("-n").arg(format!("::{name}")).arg("-"))
    }

    /// Of which bytes a partition consists.
    ///
    /// # Panics
    /// There is none with this number, of 1 to 4.
    pub fn partition(&self, number: usize) -> Range<u64> {
        let mut table = [0; TABLE.end - TABLE.start];
        let card = File::open(self.path()).expect("a card");
        card.read_exact_at(&mut table, TABLE.start as u64).expect("an MBR");
        let entry = table.chunks_exact(ENTRY).nth(number - 1).expect("1 to 4");
        let value = |at: usize| {
            let bytes = entry.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            u64::from(u32::from_le_bytes(bytes.expect("of an entry"))) * 512
        };
        let start = value(8);
        start..start + value(12)
    }

    /// Makes the table of partitions forget one.
    ///
    /// # Panics
    /// The card can't be written.
    pub fn forget(&self, number: usize) {
        let at = TABLE.start + (number - 1) * ENTRY;
        self.overwrite(at as u64, &[0; ENTRY]);
    }

    /// Writes over what is at this byte of the card.
    ///
    /// # Panics
    /// The card can't be written.
    pub fn overwrite(&self, at: u64, bytes: &[u8]) {
        let card = File::options().write(true).open(self.path()).expect("a card");
        card.write_all_at(bytes, at).expect("written");
    }

    /// The file that stands for the card.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("card.img")
    }

    /// Boots it as far as `line` in a Raspberry Pi 3 as QEMU emulates it: with U-Boot's build for the Pi, the
    /// Pi's device tree and its SD controller. Returns what the serial console said.
    ///
    /// QEMU's Pi resets at once when its watchdog is armed, so the boot script leaves that out; and it says
    /// all that systemd says.
    ///
    /// # Panics
    /// It does not come that far within `deadline`.
    pub fn boot_as_pi(&self, line: &str, deadline: Duration) -> String {
        let script = of_repository("image/boot.cmd");
        let text = fs::read_to_string(&script).expect("the boot script");
        let changed = text.replace(
            " loglevel=5\"",
            " systemd.watchdog_sec=0 systemd.log_target=kmsg loglevel=7\"",
        );
        assert_ne!(text, changed, "{} has another end of bootargs", script.display());
        let at = |name: &str| self.folder.path().join(name);
        fs::write(at("boot.cmd"), changed).expect("room");
        let mut mkimage = Command::new("mkimage");
        mkimage.args(["-A", "arm64", "-T", "script", "-C", "none", "-d"]);
        did(mkimage.args([at("boot.cmd"), at("boot.scr")]));
        did(self.mtool("mcopy").arg("-o").arg(at("boot.scr")).arg("::"));
        for name in ["u-boot.bin", PI_DEVICE_TREE] {
            did(self.mtool("mcopy").arg("-n").arg(format!("::{name}")).arg(at(name)));
        }
        let mut command = Command::new("qemu-system-aarch64");
        command.args(["-M", "raspi3b", "-accel", "tcg,thread=multi", "-display", "none"]);
        // The second one is what the device tree and the boot script name.
        command.args(["-serial", "null", "-serial", "stdio", "-monitor", "none"]);
        command.arg("-kernel").arg(at("u-boot.bin")).arg("-dtb").arg(at(PI_DEVICE_TREE));
        let card = self.path().display().to_string();
        command.args(["-drive", &format!("if=sd,format=raw,file={card}")]);
        let pi = Program::start("the Pi's console", &mut command);
        eventually(&format!("{line:?} on the Pi's console"), deadline, || {
            let lines = pi.lines();
            let last = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n");
            if lines.iter().any(|said| said.contains(line)) {
                Ok(lines.join("\n"))
            } else {
                Err(last)
            }
        })
    }

    fn mtool(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        let fat = self.partition(1).start;
        command.arg("-i").arg(format!("{}@@{fat}", self.path().display()));
        command
    }

    pub(super) fn qemu(&self) -> Command {
        let mut command = Command::new("qemu-system-aarch64");
        command.args(["-M", "virt", "-cpu", "cortex-a72", "-smp", "1"]);
        command.args(["-accel", "tcg,thread=single"]);
        // Its clock counts instructions, 8 ns each: whatever else runs here, a time-out in the machine is
        // as long as for a processor of 125 MIPS, a tenth of a Pi Zero 2 W's.
        command.args(["-icount", "shift=3,sleep=on", "-m", &MEMORY_MIB.to_string()]);
        command.arg("-bios").arg(self.image.join("u-boot.bin"));
        command.args(["-rtc", &format!("base={}", self.clock)]);
        disk(&mut command, "card", &self.path(), ",cache=writeback");
        let files = self.folder.path().join("test.img");
        // What is beside the card stays the same from the first power-on.
        if !files.exists() {
            self.files.make_image(&files);
        }
        disk(&mut command, "test", &files, ",readonly=on");
        disk(&mut command, "tools", &tools().join("tools.img"), ",readonly=on");
        command.args(["-netdev", "user,id=net"]);
        // No boot ROM: the file is in a package that nothing else needs.
        command.args(["-device", "virtio-net-pci,netdev=net,romfile="]);
        if self.usb {
            command.args(["-device", "qemu-xhci,id=usb"]);
        }
        for (file, name, text) in self.credentials() {
            let path = self.folder.path().join(file);
            fs::write(&path, text).expect("room");
            command
                .args(["-fw_cfg", &format!("name={CREDENTIALS}/{name},file={}", path.display())]);
        }
        command
    }

    /// Whether a cable is in when the power comes.
    pub(super) fn has_cable(&self) -> bool {
        self.cable
    }

    /// A file of this machine each, the credential's name and its contents.
    fn credentials(&self) -> Vec<(String, String, String)> {
        let names: Vec<_> = self.units.iter().map(|(name, _)| format!("{name}.service")).collect();
        let units = self.units.iter().zip(&names);
        let units = units.map(|((_, unit), name)| {
            (name.clone(), format!("systemd.extra-unit.{name}"), unit.clone())
        });
        // It starts with everything else.
        let wanted = format!("[Unit]\nWants={}\n", names.join(" "));
        let wanted = ("wanted".to_owned(), "systemd.unit-dropin.-.slice".to_owned(), wanted);
        units.chain([wanted]).collect()
    }
}

/// Where the image is.
fn images() -> &'static Path {
    static IMAGES: OnceLock<PathBuf> = OnceLock::new();
    IMAGES.get_or_init(|| made_by("scripts/image", &["--raw"]))
}

/// A stick's file system (FAT) in `folder`, with this file on it.
pub(super) fn make_stick(folder: &Path, file: &Path) -> PathBuf {
    let stick = folder.join("stick.img");
    let length = fs::metadata(file).expect("a file").len();
    let image = File::create(&stick).expect("room");
    image.set_len(length + (64 << 20)).expect("room");
    did(Command::new("mkfs.vfat").args(["-F", "32", "-n", "STICK"]).arg(&stick));
    did(Command::new("mcopy").arg("-i").arg(&stick).arg(file).arg("::"));
    stick
}

/// The folder of a card that Buildroot's scripts make: `scripts/test.d/buildroot-card`.
///
/// # Panics
/// It can't be made.
pub fn buildroot_card(board: &str) -> PathBuf {
    made_by("scripts/test.d/buildroot-card", &[board])
}

/// An update that `scripts/test.d/bundle` makes.
///
/// # Panics
/// It can't be made.
pub fn bundle(name: &str) -> PathBuf {
    made_by("scripts/test.d/bundle", &[name])
}

/// Where the programs are that the tests bring along.
fn tools() -> &'static Path {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| made_by("scripts/test.d/card-tools", &[]))
}

/// What a program wrote that must succeed.
fn did(command: &mut Command) -> Vec<u8> {
    let output = command.output();
    let output =
        output.unwrap_or_else(|error| panic!("{command:?}: {error} (scripts/setup image)"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output.stdout
}
