"""The SD card's image beside a bare Debian: `scripts/bench image`. The same U-Boot, kernel and emulated machine
for both, in turn."""

import os
import pathlib
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time

MEMORY_MIB = 1024
PASSWORD = "bench"
MIB = 1 << 20
# image/layout.bash.
SLOT_A_AT = 72 * MIB
CARD_BYTES = 2048 * MIB
# Seconds: what each boot may take, and what a system gets to settle before memory is measured.
LIMIT, SETTLE = 600, 180
# The daily cleanup comes 15 minutes after a boot, and what was written reaches the card up to five minutes later
# (vm.dirty_expire_centisecs, SyncIntervalSec of journald).
WRITTEN_OUT = 1300

# How a test gets in: docs/image.md. A shell for root on a serial port that only this machine has.
SHELL = {
    # After all else, whose start is measured.
    "systemd.extra-unit.x.service": "[Unit]\nAfter=multi-user.target\n[Service]\n"
    "ExecStart=/bin/sh -c 'exec /bin/sh <>/dev/virtio-ports/shell >&0 2>&0'\n",
    # A time server, as there is one nearly everywhere.
    "systemd.extra-unit.t.service": "[Unit]\nDefaultDependencies=no\nBefore=systemd-timesyncd.service\n[Service]\n"
    "Type=oneshot\nExecStart=/bin/sh -c 'mkdir -p /run/systemd/timesyncd.conf.d; "
    "printf \"[Time]\\\\nNTP=10.0.2.2\\\\n\" >/run/systemd/timesyncd.conf.d/bench.conf'\n",
    "systemd.unit-dropin.-.slice": "[Unit]\nWants=t.service x.service\n",
}
CARD = """name = "garden"
[relay]
url = "http://10.0.2.2:{port}/"
password = "{password}"
[camera]
source = "pattern"
size = "640x480"
fps = 2
"""


class Machine:
    """A card in an emulated machine that has U-Boot for a BIOS. All that it leaves is in `folder`."""

    def __init__(self, folder, card, u_boot, more=()):
        self.folder = pathlib.Path(folder)
        self.console_path = self.folder / "console"
        self.console_path.unlink(missing_ok=True)
        command = ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "2"]
        command += ["-m", str(MEMORY_MIB), "-accel", "tcg,thread=multi", "-display", "none"]
        command += ["-monitor", "none", "-serial", f"file:{self.console_path}"]
        command += ["-bios", str(u_boot), "-device", "i6300esb", "-watchdog-action", "reset"]
        command += ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]
        command += ["-drive", f"file={card},format=raw,if=none,id=card,cache=writeback"]
        command += ["-device", "virtio-blk-pci,drive=card", "-device", "virtio-serial-pci"]
        # QEMU is the one who connects, before the machine runs: the shell would end without anybody there.
        listener = socket.socket(socket.AF_UNIX)
        (self.folder / "shell").unlink(missing_ok=True)
        listener.bind(str(self.folder / "shell"))
        listener.listen()
        listener.settimeout(LIMIT)
        command += ["-chardev", f"socket,id=sh,path={folder}/shell"]
        command += ["-device", "virtserialport,chardev=sh,name=shell"]
        for name, text in SHELL.items():
            (self.folder / name).write_text(text)
            path = f"opt/io.systemd.credentials/{name}"
            command += ["-fw_cfg", f"name={path},file={self.folder / name}"]
        self.process = subprocess.Popen([*command, *more])
        self.began = time.monotonic()
        self.shell, _ = listener.accept()
        listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def wait_for(self, what, check):
        """Seconds since it was switched on, and processor seconds of QEMU, once `check` says yes."""
        while not check():
            if self.process.poll() is not None:
                raise SystemExit(f"QEMU ended with {self.process.returncode}, before {what}")
            if time.monotonic() - self.began > LIMIT:
                end = self.console()[-2000:]
                raise SystemExit(f"no {what} within {LIMIT} s; the console's end:\n{end}")
            time.sleep(0.1)
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        spent = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
        return time.monotonic() - self.began, spent

    def console(self):
        return self.console_path.read_text(errors="replace") if self.console_path.exists() else ""

    def run(self, command, limit=120):
        """What a command prints in there, run by root."""
        self.shell.settimeout(limit)
        # In two halves, because the port may send back what it gets.
        mark = f"END{time.monotonic_ns()}"
        self.shell.sendall(f"( {command}\n ) </dev/null; echo {mark[:3]}''{mark[3:]}\n".encode())
        said = b""
        while mark.encode() not in said:
            more = self.shell.recv(65536)
            if not more:
                raise SystemExit(f"the shell in there is gone; it said {said!r}")
            said += more
        return said.decode(errors="replace").split(mark)[0]


class TimeServer:
    """Says what time it is here, to whoever asks (SNTP, RFC 4330)."""

    EPOCH = 2208988800

    def __enter__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 123))
        threading.Thread(target=self.answer, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def answer(self):
        while True:
            try:
                asked, who = self.socket.recvfrom(512)
            except OSError:
                return
            seconds, fraction = divmod(int((time.time() + self.EPOCH) * 2**32), 2**32)
            now = struct.pack("!II", seconds, fraction)
            # Version 4, server, stratum 1; what was asked with comes back as the origin.
            head = struct.pack("!BBbb12x", 0x24, 1, 6, -20)
            self.socket.sendto(head + now + asked[40:48] + now + now, who)


class Relay:
    """One per boot, so that its first picture is that boot's."""

    def __init__(self, program, port, folder):
        self.log = pathlib.Path(folder) / "relay.log"
        command = [str(program), "--listen", f"0.0.0.0:{port}", "--data-dir", f"{folder}/frames"]
        subprocess.run(["rm", "-rf", f"{folder}/frames"], check=True)
        environment = dict(os.environ, PASSWORD=PASSWORD)
        self.process = subprocess.Popen(command, env=environment, stderr=self.log.open("w"), stdout=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def has_a_picture(self):
        return "first picture" in self.log.read_text()


def made(root, *arguments):
    """The folder that scripts/image prints."""
    done = subprocess.run([root / "scripts" / "image", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(done.stdout.strip().splitlines()[-1])


def copy_of(image, card, size=None):
    subprocess.run(["cp", "--sparse=always", image, card], check=True)
    if size:
        os.truncate(card, size)


def used_mib(machine):
    """Memory that programs and kernel could not give back (proc(5), MemAvailable)."""
    lines = machine.run("cat /proc/meminfo").splitlines()
    fields = {line.split(":")[0]: int(line.split()[1]) for line in lines if ":" in line}
    return (fields["MemTotal"] - fields["MemAvailable"]) / 1024


def written(machine):
    """Bytes written to the whole card and to each of its partitions since the boot (Documentation/block/stat.rst)."""
    lines = machine.run("for one in /sys/block/vda/stat /sys/block/vda/vda*/stat; do echo $one $(cat $one); done")
    fields = [line.split() for line in lines.splitlines() if line.startswith("/sys/block")]
    return {line[0].split("/")[-2]: int(line[7]) * 512 for line in fields}


def verdict(met, text):
    return f"- {'met' if met else '**not met**'}: {text}"


class Bench:
    def __init__(self, root, relay_program, options):
        self.relay_program, self.options = relay_program, options
        self.port = 18800 + os.getpid() % 1000
        self.ours, self.bare = made(root), made(root, "--bare")
        self.raw = next(self.ours.glob("*.img"))
        self.work = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.work.name)
        self.cards = {name: self.folder / f"{name}.img" for name in ("bare", "ours")}
        copy_of(self.bare / "bare.img", self.cards["bare"])
        copy_of(self.raw, self.cards["ours"], CARD_BYTES)
        config = self.folder / "stillwatch.toml"
        config.write_text(CARD.format(port=self.port, password=PASSWORD))
        subprocess.run(["mcopy", "-i", f"{self.cards['ours']}@@8M", config, "::"], check=True)
        self.is_new = True

    def boot_bare(self, then=lambda machine: None):
        """What it took until its login prompt, and what `then` returns of the machine after it."""
        with Machine(self.folder, self.cards["bare"], self.bare / "u-boot.bin") as machine:
            took = machine.wait_for("login prompt", lambda: "login:" in machine.console())
            return took, then(machine)

    def boot_ours(self, then=lambda machine: time.sleep(30)):
        """What it took until its first picture, and what `then` returns of the machine after it."""
        self.is_new = False
        with Relay(self.relay_program, self.port, self.folder) as relay:
            with Machine(self.folder, self.cards["ours"], self.ours / "u-boot.bin") as machine:
                took = machine.wait_for("picture", relay.has_a_picture)
                return took, then(machine)

    def sizes(self):
        download = self.raw.with_name(self.raw.name + ".xz").stat().st_size
        at_slot = f"{self.raw}?offset={SLOT_A_AT}"
        lines = subprocess.run(["debugfs", "-R", "stats", at_slot], capture_output=True, text=True)
        counts = dict(line.split(":", 1) for line in lines.stdout.splitlines() if ":" in line)
        blocks = int(counts["Block count"]) - int(counts["Free blocks"])
        slot = blocks * int(counts["Block size"])
        return [
            "| image | MB |",
            "|---|---|",
            f"| download, .img.xz | {download / 1e6:.0f} |",
            f"| as it is written to the card, empty slot B in it | {self.raw.stat().st_size / 1e6:.0f} |",
            f"| slot A: root, kernel, initrd | {slot / 1e6:.0f} |",
            "",
            verdict(download < 200e6, f"download of {download / 1e6:.0f} MB (under 200)"),
            verdict(slot < 350e6, f"slot of {slot / 1e6:.0f} MB (under 350)"),
        ]

    def boots(self):
        # The first of ours grows the data partition; the bare one has nothing of that kind.
        first, _ = self.boot_ours()
        bare, ours = [], []
        for _ in range(self.options.rounds):
            took, bare_mib = self.boot_bare(settled_mib)
            bare.append(took)
            took, our_mib = self.boot_ours(settled_mib)
            ours.append(took)
        medians = [[statistics.median(column) for column in zip(*rows)] for rows in (bare, ours)]
        rows = [
            ("a bare Debian, to its login prompt", *medians[0], f"{bare_mib:.0f}"),
            ("Stillwatch, to its first picture at the relay", *medians[1], f"{our_mib:.0f}"),
            ("Stillwatch, the same on a new card's first boot", *first, "–"),
        ]
        wall, spent = (ours / bare for bare, ours in zip(*medians))
        return [
            f"{MEMORY_MIB} MiB of memory; medians of {self.options.rounds} boots each, in turn; memory {SETTLE} s after.",
            "",
            "| system | from power-on, s | QEMU's processor until then, s | memory in use, MiB |",
            "|---|---|---|---|",
            *(f"| {name} | {wall:.1f} | {spent:.1f} | {mib} |" for name, wall, spent, mib in rows),
            "",
            verdict(wall <= 1.15, f"{wall:.2f} x the bare Debian's boot (at most 1.15); processor {spent:.2f} x"),
        ]

    def writes(self):
        def watched(machine):
            time.sleep(WRITTEN_OUT)
            before, began = written(machine), time.monotonic()
            time.sleep(self.options.seconds)
            after, days = written(machine), (time.monotonic() - began) / 86400
            return {name: (before[name], (after[name] - before[name]) / days) for name in after}

        # Not the first boot, which makes the data partition as large as the card.
        if self.is_new:
            self.boot_ours()
        with TimeServer():
            _, found = self.boot_ours(watched)
        once, steady = found["vda"]
        whole = once + steady
        return [
            f"| written to | in the boot and {WRITTEN_OUT} s from the first picture on, the daily cleanup in them, MB | "
            f"in the {self.options.seconds} s after that, as MB a day |",
            "|---|---|---|",
            *(f"| {name} | {once / 1e6:.1f} | {day / 1e6:.1f} |" for name, (once, day) in sorted(found.items())),
            "",
            verdict(whole < 50e6, f"{whole / 1e6:.1f} MB written on a day with one boot (under 50)"),
        ]


def settled_mib(machine):
    time.sleep(SETTLE)
    return used_mib(machine)


def image(root, relay_program, options):
    parts = options.only.split(",") if options.only else ["sizes", "boots", "writes"]
    bench = Bench(root, relay_program, options)
    lines = [
        f"{bench.raw.name} in QEMU's `virt` with two emulated Cortex-A72; the test card, 640x480, 2 fps, over HTTP.",
    ]
    for part in parts:
        lines += ["", *getattr(bench, part)()]
    return lines
