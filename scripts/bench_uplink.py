"""The agent beside the tutorial's loop and a pull from ustreamer, over bad links: `scripts/bench uplink`.
The same camera's pictures, the same links at the same time, each with a network of its own."""

import http.client
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import datetime

import bench_relay

FPS = 5
PASSWORD = "bench"
# Looks at the relay so often, in seconds: what ages can be wrong by.
LOOK = 0.01
# What whoever pulls waits for something to come, and between two attempts, in seconds.
PULL_TIMEOUT = 10
PULL_AGAIN = 1
STAMP = re.compile(rb"SWSTAMP:(\d{20})")


class Relay:
    """A relay, and all that is seen of its newest frame: when it came, how old it was, its bytes."""

    def __init__(self, binaries, folder):
        environment = dict(os.environ, PASSWORD=PASSWORD)
        command = [str(binaries / "stillwatch-relay"), "--listen", "0.0.0.0:0", "--data-dir"]
        self.process = subprocess.Popen(
            command + [str(folder)], env=environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True
        )
        for line in self.process.stderr:
            if found := re.search(r"listening on \S+:(\d+)", line):
                self.port = found.group(1)
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.frames, self.over = [], False
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()

    def watch(self):
        """Notes when each new frame is there, and how old it is then."""
        connection, known = http.client.HTTPConnection(f"127.0.0.1:{self.port}"), None
        while not self.over:
            headers = {"If-None-Match": known} if known else {}
            connection.request("GET", "/live.jpeg", headers=headers)
            answer = connection.getresponse()
            body, now, wall = answer.read(), time.monotonic(), time.time()
            if answer.status == 200:
                known = answer.getheader("etag")
                captured = answer.getheader("frame-captured-at")
                # The tutorial's pictures have their time inside; the agent's may be made anew.
                stamp = STAMP.search(body)
                if stamp and answer.getheader("frame-time-source") == "arrived":
                    age = now - int(stamp.group(1)) / 1e9
                else:
                    age = wall - datetime.fromisoformat(captured.replace("Z", "+00:00")).timestamp()
                self.frames.append((now, age, len(body)))
            time.sleep(LOOK)

    def received(self):
        """Frames that arrived, and their bytes."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            text = answer.read().decode()
        found = [
            re.search(rf"^stillwatch_{name}_total\S* (\S+)", text, re.M)
            for name in ("frames_received", "received_bytes")
        ]
        return tuple(float(match.group(1)) if match else 0 for match in found)

    def stop(self):
        self.over = True
        self.watcher.join()
        self.process.terminate()
        self.process.wait()


class Link:
    """A network of its own, and what happens to it when."""

    def __init__(self, root, binaries, file, port):
        command = [str(binaries / "badlink"), str(file), port]
        command += [str(root / "systemd" / "60-stillwatch-agent.conf")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.address, self.namespace, self.inside = self.process.stdout.readline().split()
        self.phases, self.sent = [], None
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if line.startswith("sent "):
                self.sent = int(line.split()[1])
            else:
                self.phases.append((line.strip(), time.monotonic()))
        self.end = time.monotonic()

    def run(self, command, environment=None):
        within = [] if self.namespace == "-" else ["ip", "netns", "exec", self.namespace]
        # Its own group: `ip` is replaced by what it runs, but a shell would not be.
        return subprocess.Popen(
            within + command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


def tutorials_loop(url, folder):
    """As in the tutorial: one request after the other, without a time-out and each on a connection
    of its own as `requests.post` does it, and 5 s of sleep after an error."""
    ring = [path.read_bytes() for path in sorted(pathlib.Path(folder).glob("*.jpg"))]
    number = 0
    while True:
        began = time.monotonic()
        try:
            data = bench_relay.stamped(ring[number % len(ring)])
            urllib.request.urlopen(url, data=data).read()
        except (OSError, http.client.HTTPException):
            time.sleep(5)
        number += 1
        # Its camera takes its time, too.
        time.sleep(max(0, 1 / FPS - (time.monotonic() - began)))


class Pull:
    """Whoever pulls from the camera: reads the stream, and begins anew when it ends or brings nothing."""

    def __init__(self, address):
        self.address, self.frames, self.over = address, [], False
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        while not self.over:
            try:
                with socket.create_connection((self.address, 8080), PULL_TIMEOUT) as stream:
                    stream.sendall(b"GET /stream HTTP/1.0\r\n\r\n")
                    self.take(stream)
            except OSError:
                pass
            time.sleep(PULL_AGAIN)

    def take(self, stream):
        data = b""
        while not self.over and (piece := stream.recv(65536)):
            data += piece
            while (end := data.find(b"\xff\xd9")) >= 0:
                picture, data = data[:end], data[end + 2:]
                if stamp := STAMP.search(picture):
                    now = time.monotonic()
                    self.frames.append((now, now - int(stamp.group(1)) / 1e9, len(picture)))

    def stop(self):
        self.over = True
        self.reader.join()


def row(name, frames, link, received):
    first, end = link.phases[0][1], link.end
    recovered = []
    for (kind, began), (after, at) in zip(link.phases, link.phases[1:] + [("end", end)]):
        # From the fault's end, or from a moment's event, to a picture that was taken since.
        since = at if kind == "fault" and after != "end" else began if kind == "event" else None
        if since is not None:
            back = [when for when, age, _ in frames if when >= since and when - age >= since]
            recovered.append(back[0] - since if back else float("inf"))
    # What came after the connection was made and the link was learnt.
    counted = [frame for frame in frames if first + 5 <= frame[0] <= end]
    ages = sorted(age for _, age, _ in counted)
    at = lambda share: ages[min(len(ages) - 1, int(len(ages) * share))] if ages else float("nan")
    sizes = [size for _, _, size in counted[-20:]]
    healed = f"{max(recovered):.1f}".replace("inf", "never") if recovered else "–"
    number, useful = received
    wasted = f"{(link.sent - useful) / 1e6:.2f}" if link.sent else "–"
    return (
        f"| {name} | {number / (end - first):.2f} | {at(0.5):.2f} | {at(0.95):.2f} "
        f"| {at(1):.2f} | {healed} | {statistics.median(sizes) / 1000 if sizes else 0:.0f} | {wasted} |"
    )


def agents(binaries, folder, link):
    environment = dict(
        os.environ,
        STILLWATCH_PASSWORD=PASSWORD,
        STILLWATCH_AGENT_CLOCK="trusted",
        STILLWATCH_AGENT_STATUS_FILE=str(folder / "status.json"),
        STILLWATCH_CAMERA_DIRECTORY_MODE="cycle",
    )
    command = [str(binaries / "stillwatch-agent"), "run", "--relay", f"http://{link.address}/"]
    command += ["--source", "directory", "--path", str(folder / "pictures"), "--fps", str(FPS)]
    return link.run(command, environment)


def ustreamers(binaries, folder, link):
    environment = dict(
        os.environ,
        LD_PRELOAD=str(binaries / "libfakecam.so"),
        FAKECAM_DEVICE="/dev/video-bench",
        FAKECAM_FORMATS="MJPG",
        FAKECAM_FRAMES=str(folder / "pictures"),
    )
    command = ["ustreamer", "--device", "/dev/video-bench", "--format", "MJPEG", "--encoder", "HW"]
    command += ["--resolution", "1280x720", "--desired-fps", str(FPS), "--workers", "1"]
    return link.run(command + ["--host", "0.0.0.0", "--port", "8080"], environment)


def scenario(root, file, binaries, folder):
    relays = [Relay(binaries, folder / f"{file.stem}-{n}") for n in range(2)]
    ours, theirs = [Link(root, binaries, file, relay.port) for relay in relays]
    url = f"http://{theirs.address}/?password={PASSWORD}"
    loop = [sys.executable, __file__, url, str(folder / "pictures")]
    programs = [agents(binaries, folder, ours), theirs.run(loop)]
    pulled = pull = None
    # A login page answers in the relay's place, and nobody pulls from there.
    if ours.namespace != "-":
        pulled = Link(root, binaries, file, "0")
        programs.append(ustreamers(binaries, folder, pulled))
        pull = Pull(pulled.inside)
    for link in filter(None, [ours, theirs, pulled]):
        link.reader.join()
    received = [relay.received() for relay in relays]
    for program in programs:
        program.terminate()
        program.wait()
    for relay in relays:
        relay.stop()
    rows = [
        row("stillwatch", relays[0].frames, ours, received[0]),
        row("tutorial", relays[1].frames, theirs, received[1]),
    ]
    if pull:
        pull.stop()
        taken = len(pull.frames), sum(size for _, _, size in pull.frames)
        rows.append(row("pull from ustreamer", pull.frames, pulled, taken))
    return rows


def uplink(root, target, only):
    lines = [
        f"Pictures of {bench_relay.PICTURE_BYTES} bytes, 1280x720, {FPS} a second; ages from 5 s on.",
        "",
        "| link | sender | frames/s | age p50, s | p95 | max | live again after, s | KB a frame, last | MB beside frames |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    files = sorted((root / "crates" / "testbed" / "scenarios").glob("*.toml"))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "pictures").mkdir()
        bench_relay.pictures(folder / "pictures")
        for file in files:
            if only and file.stem not in only.split(","):
                continue
            about = re.search(r'about = "(.*)"', file.read_text()).group(1)
            print(f"{file.stem}: {about}", file=sys.stderr)
            for row_ in scenario(root, file, target, folder):
                lines.append(f"| {about} {row_}")
                print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    tutorials_loop(*sys.argv[1:])
