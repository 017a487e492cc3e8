"""What fetching an update costs the live picture: `scripts/bench update`. Three agents with the same pictures at the
same time, each on a thin link of its own: one fetches nothing, one an update, and beside one a program
downloads the same bundle as fast as it goes."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import bench_relay
import bench_uplink

RATE = 50_000
LATE_MS = 10
FPS = 5
# Until all are connected and fetch, in seconds.
SETTLE = 25
RUNS, OFFERED, COMPATIBLE = "0.1.0-20261128.0312", "0.2.0-20261128.0312", "stillwatch-bench"
DOWNLOAD = (
    "import sys, urllib.request\n"
    "with urllib.request.urlopen(sys.argv[1]) as answer:\n"
    "    while piece := answer.read1(65536):\n"
    "        print(len(piece), flush=True)\n"
)


class Arm:
    """An agent on a link of its own, a relay, and what is fetched there."""

    def __init__(self, root, binaries, folder, name, seconds, camera):
        self.name, self.folder = name, folder / name.replace(" ", "-")
        (self.folder / "state").mkdir(parents=True)
        scenario = self.folder / "scenario.toml"
        scenario.write_text(
            f'about = "thin"\n[[phase]]\nseconds = {seconds}\n'
            f"bytes_per_second = {RATE}\nlate_ms = {LATE_MS}\n"
        )
        self.relay = bench_uplink.Relay(binaries, self.folder / "relay")
        size = str(RATE * seconds)
        self.server = subprocess.Popen(
            [str(binaries / "updates"), self.relay.port, OFFERED, COMPATIBLE, size],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        port, path = self.server.stdout.readline().split()
        self.link = bench_uplink.Link(root, binaries, scenario, port)
        self.programs = [self.agent(binaries, camera)]
        if name == "plain download":
            self.log = (self.folder / "download").open("w")
            # The link's address has the port in it.
            command = [sys.executable, "-c", DOWNLOAD, f"http://{self.link.address}{path}"]
            within = ["ip", "netns", "exec", self.link.namespace]
            self.programs.append(subprocess.Popen(within + command, stdout=self.log))

    def agent(self, binaries, camera):
        state = self.folder / "update.json"
        if self.name == "update":
            state.write_text(json.dumps({"system": RUNS, "compatible": COMPATIBLE, "slot": "A"}))
        environment = dict(
            os.environ,
            STILLWATCH_PASSWORD=bench_uplink.PASSWORD,
            STILLWATCH_AGENT_CLOCK="trusted",
            STILLWATCH_AGENT_STATUS_FILE=str(self.folder / "status.json"),
            STILLWATCH_CAMERA_DIRECTORY_MODE="cycle",
            STILLWATCH_UPDATE_STATE=str(state),
            STILLWATCH_UPDATE_POLL="5s",
            STATE_DIRECTORY=str(self.folder / "state"),
        )
        command = [str(binaries / "stillwatch-agent"), "run", "--fps", str(FPS)]
        command += ["--relay", f"http://{self.link.address}/"] + camera
        return self.link.run(command, environment)

    def fetched(self):
        """Bytes of the bundle that are here."""
        if self.name == "plain download":
            text = (self.folder / "download").read_text()
            return sum(int(line) for line in text.split("\n")[:-1])
        parts = (self.folder / "state" / "update").glob("*")
        return sum(part.stat().st_size for part in parts)

    def stop(self):
        for program in self.programs:
            program.terminate()
            program.wait()
        self.server.stdin.close()
        self.server.wait()
        self.relay.stop()

    def row(self, since, until, fetched):
        frames = [frame for frame in self.relay.frames if since <= frame[0] <= until]
        ages = sorted(age for _, age, _ in frames)
        at = lambda share: ages[min(len(ages) - 1, int(len(ages) * share))] if ages else float("nan")
        size = statistics.median(size for _, _, size in frames) / 1000 if frames else 0
        rate = fetched / (until - since)
        return (
            f"| {self.name} | {len(frames) / (until - since):.2f} | {at(0.5):.2f} | {at(0.95):.2f} "
            f"| {at(1):.2f} | {size:.1f} | {rate / 1000:.1f} | {100 * rate / RATE:.0f} % |"
        )


def compared(root, binaries, folder, seconds, camera):
    names = ["nothing", "update", "plain download"]
    arms = [Arm(root, binaries, folder, name, seconds + SETTLE + 5, camera) for name in names]
    time.sleep(SETTLE)
    since, before = time.monotonic(), [arm.fetched() for arm in arms]
    time.sleep(seconds)
    until, after = time.monotonic(), [arm.fetched() for arm in arms]
    for arm in arms:
        arm.stop()
    for arm in arms:
        arm.link.reader.join()
    return [arm.row(since, until, b - a) for arm, a, b in zip(arms, before, after)]


def update(root, binaries, seconds):
    lines = [
        f"A link of {RATE // 1000} KB/s in each direction, {LATE_MS} ms late, {FPS} pictures a second, {seconds} s. "
        f"320x240 is the test card, 1280x720 has {bench_relay.PICTURE_BYTES // 1000} KB before it is made smaller. "
        f"The plain download is urllib's, at once and without a pause.",
        "",
        "| pictures | beside them | frames/s | age p50, s | p95 | max | KB a frame | fetched, KB/s | of the link |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines[2:]))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "pictures").mkdir()
        bench_relay.pictures(folder / "pictures")
        small = ["--source", "pattern", "--size", "320x240"]
        large = ["--source", "directory", "--path", str(folder / "pictures")]
        for name, camera in [("320x240", small), ("1280x720", large)]:
            for row in compared(root, binaries, folder / name, seconds, camera):
                lines.append(f"| {name} {row}")
                print(lines[-1], flush=True)
    return lines
