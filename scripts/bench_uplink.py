"""The agent beside the tutorial's loop over bad links: `scripts/bench uplink`. The same pictures, the
same links at the same time, each with a relay of its own."""

import http.client
import os
import pathlib
import re
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


def start(command, environment=None, **options):
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        **options
    )


class Relay:
    """A relay, and all that is seen of its newest frame."""

    def __init__(self, binaries, folder):
        environment = dict(os.environ, PASSWORD=PASSWORD)
        command = [str(binaries / "stillwatch-relay"), "--listen", "127.0.0.1:0", "--data-dir"]
        self.process = subprocess.Popen(
            command + [str(folder)], env=environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True
        )
        for line in self.process.stderr:
            if found := re.search(r"listening on (\S+)", line):
                self.address = found.group(1)
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.frames, self.over = [], False
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()

    def watch(self):
        """Notes when each new frame is there, and how old it is then."""
        connection, known = http.client.HTTPConnection(self.address), None
        while not self.over:
            headers = {"If-None-Match": known} if known else {}
            connection.request("GET", "/live.jpeg", headers=headers)
            answer = connection.getresponse()
            body, now, wall = answer.read(), time.monotonic(), time.time()
            if answer.status == 200:
                known = answer.getheader("etag")
                captured = answer.getheader("frame-captured-at")
                # The tutorial's pictures have their time inside; the agent's may be made anew.
                if body[6:14] == b"SWSTAMP:" and answer.getheader("frame-time-source") == "arrived":
                    age = now - int(body[14:34]) / 1e9
                else:
                    age = wall - datetime.fromisoformat(captured.replace("Z", "+00:00")).timestamp()
                self.frames.append((now, age, len(body)))
            time.sleep(LOOK)

    def stop(self):
        self.over = True
        self.watcher.join()
        self.process.terminate()
        self.process.wait()


def tutorials_loop(url, ring, stop):
    """As in the tutorial: one request after the other, without a time-out and each on a connection
    of its own as `requests.post` does it, and 5 s of sleep after an error."""
    number = 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            data = bench_relay.stamped(ring[number % len(ring)])
            urllib.request.urlopen(url, data=data).read()
        except (OSError, http.client.HTTPException):
            stop.wait(5)
        number += 1
        # Its camera takes its time, too.
        stop.wait(max(0, 1 / FPS - (time.monotonic() - began)))


def row(name, relay, phases, end):
    first = phases[0][1]
    # What came after the connection was made and the link was learnt.
    frames = [frame for frame in relay.frames if first + 5 <= frame[0] <= end]
    ages = sorted(age for _, age, _ in frames)
    recovered = []
    for (kind, _), (after, at) in zip(phases, phases[1:]):
        if kind == "fault" and after == "fine":
            back = [when for when, age, _ in relay.frames if when >= at and age < when - at + 1]
            recovered.append(back[0] - at if back else float("inf"))
    at = lambda share: ages[min(len(ages) - 1, int(len(ages) * share))] if ages else float("nan")
    sizes = [size for _, _, size in frames[-20:]]
    healed = f"{max(recovered):.1f}" if recovered else "–"
    return (
        f"| {name} | {len(frames) / (end - first - 5):.2f} | {at(0.5):.2f} | {at(0.95):.2f} "
        f"| {at(1):.2f} | {healed} | {statistics.median(sizes) / 1000 if sizes else 0:.0f} |"
    )


def scenario(file, binaries, folder, ring):
    relays = [Relay(binaries, folder / f"{file.stem}-{n}") for n in range(2)]
    links = [start([str(binaries / "badlink"), str(file), relay.address]) for relay in relays]
    phases, stop = [], threading.Event()
    ours, theirs = [link.stdout.readline().strip() for link in links]
    environment = dict(
        os.environ,
        STILLWATCH_PASSWORD=PASSWORD,
        STILLWATCH_AGENT_CLOCK="trusted",
        STILLWATCH_AGENT_STATUS_FILE=str(folder / "status.json"),
        STILLWATCH_CAMERA_DIRECTORY_MODE="cycle",
    )
    command = [str(binaries / "stillwatch-agent"), "run", "--relay", f"http://{ours}/"]
    command += ["--source", "directory", "--path", str(folder / "pictures"), "--fps", str(FPS)]
    agent = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://{theirs}/?password={PASSWORD}"
    loop = threading.Thread(target=tutorials_loop, args=(url, ring, stop), daemon=True)
    loop.start()
    for line in links[0].stdout:
        phases.append((line.strip(), time.monotonic()))
    end = time.monotonic()
    links[1].wait()
    stop.set()
    agent.terminate()
    agent.wait()
    for relay in relays:
        relay.stop()
    return [row("stillwatch", relays[0], phases, end), row("tutorial", relays[1], phases, end)]


def uplink(root, target, only):
    lines = [
        f"Pictures of {bench_relay.PICTURE_BYTES} bytes, 1280x720, {FPS} a second, from 5 s on.",
        "",
        "| link | sender | frames/s | age p50, s | p95 | max | live again after, s | KB a frame, last |",
        "|---|---|---|---|---|---|---|---|",
    ]
    files = sorted((root / "crates" / "testbed" / "scenarios").glob("*.toml"))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "pictures").mkdir()
        bench_relay.pictures(folder / "pictures")
        ring = [path.read_bytes() for path in sorted((folder / "pictures").glob("*.jpg"))]
        for file in files:
            if only and file.stem not in only.split(","):
                continue
            about = re.search(r'about = "(.*)"', file.read_text()).group(1)
            print(f"{file.stem}: {about}", file=sys.stderr)
            for row_ in scenario(file, target, folder, ring):
                lines.append(f"| {about} {row_}")
                print(lines[-1], flush=True)
    return lines
