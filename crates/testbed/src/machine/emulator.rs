//! QEMU's process: what the machine is made of, and that it ends.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::shell::Shell;
use super::{Options, System, last_lines};
use crate::eventually::eventually;
use crate::made_by;

/// QEMU listens at once, unless it does not start.
const SOON: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Running {
    qemu: Child,
    warden: Child,
    /// Closed by the kernel, too, when the test is killed.
    _leash: Option<ChildStdin>,
    pub(super) shell: Shell,
}

impl Running {
    pub(super) fn start(folder: &Path, system: &System) -> Running {
        let sockets = [folder.join("shell"), folder.join("qmp")];
        for socket in &sockets {
            // Left by the QEMU before, if there was one.
            let _ = fs::remove_file(socket);
        }
        let complaints = folder.join("qemu.log");
        let mut qemu = qemu(folder, system)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&complaints).expect("a new file"))
            .spawn()
            .expect("QEMU (scripts/setup guest image)");
        let mut warden = warden(&qemu);
        let leash = warden.stdin.take();
        let shell = eventually("QEMU's sockets", SOON, || {
            if let Ok(Some(status)) = qemu.try_wait() {
                panic!("QEMU ended with {status}: {}", last_lines(&complaints));
            }
            Shell::connect(&sockets[0])
        });
        Running { qemu, warden, _leash: leash, shell }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // All fail if it has ended, and then there is nothing to do. The warden first: later the
        // number might be another process's.
        let _ = self.warden.kill();
        let _ = self.warden.wait();
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Ends QEMU when the test's process is killed and nobody drops anything: then `read` returns.
fn warden(qemu: &Child) -> Child {
    let script = "read -r _; kill -KILL \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "warden", &qemu.id().to_string()]).stdin(Stdio::piped());
    command.spawn().expect("a shell")
}

fn qemu(folder: &Path, system: &System) -> Command {
    let mut command = match system {
        System::Guest(options) => guest(folder, options),
        System::Card(card) => card.qemu(),
    };
    command.args(["-nodefaults", "-display", "none"]);
    command.args(["-device", "virtio-rng-pci", "-device", "i6300esb", "-action", "watchdog=reset"]);
    let console = folder.join("console.log").display().to_string();
    command.args(["-chardev", &format!("file,id=console,path={console},append=on")]);
    command.args(["-serial", "chardev:console"]);
    let shell = folder.join("shell").display().to_string();
    command.args(["-chardev", &format!("socket,id=shell,path={shell},server=on,wait=off")]);
    command.args(["-device", "virtio-serial-pci", "-device"]);
    command.arg("virtserialport,chardev=shell,name=shell");
    let qmp = folder.join("qmp").display().to_string();
    command.args(["-qmp", &format!("unix:{qmp},server=on,wait=off")]);
    command
}

fn guest(folder: &Path, options: &Options) -> Command {
    let images = images();
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-smp", "2", "-m", &options.memory_mib.to_string()]);
    // Always emulated: a /dev/kvm may be there and not work, as in nested machines. A plain processor
    // is emulated fastest.
    command.args(["-accel", "tcg,thread=multi", "-cpu", "Nehalem"]);
    command.arg("-kernel").arg(images.join("vmlinuz"));
    command.arg("-initrd").arg(images.join("initrd.img"));
    // The drivers of what the machine has and no test needs: loading each takes emulated time.
    let fixed = "console=ttyS0 panic=10 mitigations=off net.ifnames=0 \
                 modprobe.blacklist=ata_generic,ata_piix,floppy,i2c_piix4,pcspkr,psmouse \
                 systemd.condition_needs_update=0 systemd.show_status=auto TERM=dumb";
    command.args(["-append", &[&[fixed.to_owned()], options.kernel.as_slice()].concat().join(" ")]);
    // What the guest flushes is on the disk; what it does not is lost with QEMU's process.
    disk(&mut command, "root", &images.join("root.img"), ",readonly=on");
    disk(&mut command, "payload", &folder.join("payload.img"), ",readonly=on");
    disk(&mut command, "state", &folder.join("state.img"), ",cache=writeback");
    command.args(["-netdev", "user,id=net,ipv6=off"]);
    // No boot ROM: the file is in a package that nothing else needs.
    command.args(["-device", "virtio-net-pci,netdev=net,romfile="]);
    command
}

/// A disk that is known by its serial number.
pub(super) fn disk(command: &mut Command, serial: &str, path: &Path, options: &str) {
    let path = path.display();
    command.args(["-drive", &format!("if=none,id={serial},format=raw,file={path}{options}")]);
    command.args(["-device", &format!("virtio-blk-pci,drive={serial},serial={serial}")]);
}

/// Where the guest's images are.
fn images() -> &'static Path {
    static IMAGES: OnceLock<PathBuf> = OnceLock::new();
    IMAGES.get_or_init(|| made_by("scripts/guest", &[]))
}
