"""The SD card's image beside a bare Debian: `scripts/bench image`. The same U-Boot, kernel and emulated machine
for both, in turn."""

import os
import pathlib
import socket
import statistics
import subprocess
import tempfile
import time

MEMORY_MIB = 1024
PASSWORD = "bench"
MIB = 1 << 20
# Seconds: what each boot may take, and what a system gets to settle before memory and writes are measured.
LIMIT, SETTLE = 600, 180

# How a test gets in: docs/image.md. A shell for root on a serial port that only this machine has.
SHELL = {
    "systemd.extra-unit.x.service": "[Unit]\nDefaultDependencies=no\n[Service]\n"
    "ExecStart=/bin/sh -c 'exec /bin/sh <>/dev/virtio-ports/shell >&0 2>&0'\n"
    "Restart=always\nRestartSec=5\n",
    "systemd.unit-dropin.-.slice": "[Unit]\nWants=x.service\n",
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
        command += ["-chardev", f"socket,id=sh,path={folder}/shell,server=on,wait=off"]
        command += ["-device", "virtserialport,chardev=sh,name=shell"]
        for name, text in SHELL.items():
            (self.folder / name).write_text(text)
            path = f"opt/io.systemd.credentials/{name}"
            command += ["-fw_cfg", f"name={path},file={self.folder / name}"]
        self.process = subprocess.Popen([*command, *more])
        self.began = time.monotonic()

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
        with socket.socket(socket.AF_UNIX) as shell:
            shell.settimeout(limit)
            shell.connect(str(self.folder / "shell"))
            # In two halves, because the port may send back what it gets.
            mark = f"END{time.monotonic_ns()}"
            shell.sendall(f"( {command}\n ) </dev/null; echo {mark[:3]}''{mark[3:]}\n".encode())
            said = b""
            while mark.encode() not in said:
                more = shell.recv(65536)
                if not more:
                    raise SystemExit(f"the shell in there is gone; it said {said!r}")
                said += more
        return said.decode(errors="replace").split(mark)[0]


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


def image(root, relay_program, options):
    port = 18800 + os.getpid() % 1000
    ours, bare = made(root), made(root, "--bare")
    raw = next(ours.glob("*.img"))
    download = raw.with_name(raw.name + ".xz").stat().st_size
    slot = subprocess.run(["debugfs", "-R", "stats", f"{raw}?offset={72 * MIB}"], capture_output=True, text=True).stdout
    counts = {line.split(":")[0]: line.split(":")[1] for line in slot.splitlines() if line.count(":") == 1}
    slot_used = (int(counts["Block count"]) - int(counts["Free blocks"])) * int(counts["Block size"])

    boots = {"bare": [], "first": [], "later": []}
    memory = {}
    with tempfile.TemporaryDirectory() as folder:
        cards = {name: f"{folder}/{name}.img" for name in ("bare", "ours")}
        copy_of(bare / "bare.img", cards["bare"])
        copy_of(raw, cards["ours"], 2 << 30)
        config = pathlib.Path(folder, "stillwatch.toml")
        config.write_text(CARD.format(port=port, password=PASSWORD))
        subprocess.run(["mcopy", "-i", f"{cards['ours']}@@8M", config, "::"], check=True)

        def boot_bare(last):
            with Machine(folder, cards["bare"], bare / "u-boot.bin") as machine:
                took = machine.wait_for("login prompt", lambda: "login:" in machine.console())
                if last:
                    time.sleep(SETTLE)
                    memory["bare"] = used_mib(machine)
            return took

        def boot_ours(last):
            with Relay(relay_program, port, folder) as relay, Machine(folder, cards["ours"], ours / "u-boot.bin") as machine:
                took = machine.wait_for("picture", relay.has_a_picture)
                time.sleep(SETTLE if last else 20)
                if last:
                    memory["ours"] = used_mib(machine)
                    before = written(machine), time.monotonic()
                    time.sleep(options.seconds)
                    after = written(machine), time.monotonic()
                    days = (after[1] - before[1]) / 86400
                    memory["writes"] = {name: (after[0][name] - before[0][name]) / days for name in after[0]}
            return took

        # What a system does once in its life is not measured: neither Debian's nor ours.
        boot_bare(False)
        boots["first"].append(boot_ours(False))
        for round_ in range(options.rounds):
            last = round_ == options.rounds - 1
            boots["bare"].append(boot_bare(last))
            boots["later"].append(boot_ours(last))

    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in boots.items()}
    ratio = medians["later"][0] / medians["bare"][0]
    per_day = memory["writes"]
    rows = [
        ("a bare Debian, to its login prompt", medians["bare"], memory["bare"]),
        ("Stillwatch, to its first picture at the relay", medians["later"], memory["ours"]),
        ("Stillwatch, the same on a new card's first boot", medians["first"], None),
    ]
    return [
        f"{raw.name}; QEMU's `virt` with two emulated Cortex-A72 and {MEMORY_MIB} MiB; medians of {options.rounds} "
        f"boots each, in turn; the test card, 640x480, 2 fps, over HTTP.",
        "",
        "| system | from power-on, s | QEMU's processor until then, s | memory in use, MiB |",
        "|---|---|---|---|",
        *(
            f"| {name} | {wall:.1f} | {spent:.1f} | {'–' if mib is None else f'{mib:.0f}'} |"
            for name, (wall, spent), mib in rows
        ),
        "",
        "| image | MB |",
        "|---|---|",
        f"| download, .img.xz | {download / 1e6:.0f} |",
        f"| as it is written to the card, empty slot B in it | {raw.stat().st_size / 1e6:.0f} |",
        f"| slot A: root, kernel, initrd | {slot_used / 1e6:.0f} |",
        "",
        f"| written while it uploads, {options.seconds} s, from {SETTLE} s after the first picture on | MB a day |",
        "|---|---|",
        *(f"| {name} | {value / 1e6:.1f} |" for name, value in sorted(per_day.items())),
        "",
        verdict(ratio <= 1.15, f"{ratio:.2f} x the bare Debian's boot (at most 1.15)"),
        verdict(download < 200e6, f"download of {download / 1e6:.0f} MB (under 200)"),
        verdict(slot_used < 350e6, f"slot of {slot_used / 1e6:.0f} MB (under 350)"),
        verdict(per_day["vda"] < 50e6, f"{per_day['vda'] / 1e6:.1f} MB written a day (under 50)"),
    ]
