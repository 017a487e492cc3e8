"""What `scripts/bench scale` is made of: nats-servers that are killed and come back, crowds, and what is asked of relays."""

import collections
import contextlib
import itertools
import json
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from bench_relay import CLIENT_CORE, PASSWORD, SERVER_CORE, spent

SETTLE = 2


class Failed(Exception):
    """A scenario did not get to its end."""


def until(what, seconds, look, pause=0.05):
    """Waits until there is something, and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, KeyError, ValueError):
            if found := look():
                return found
        time.sleep(pause)
    raise Failed(f"{what}: not within {seconds} s")


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read()


def get_json(port, path):
    return json.loads(get(port, path))


def states(relay):
    """By camera, of those that have a picture."""
    cameras = get_json(relay.port, "/status.json")["cameras"]
    return {camera["camera"]: camera["state"] for camera in cameras if camera["state"] != "empty"}


def name(number):
    return f"c{number:05}"


def quantiles(values):
    values = sorted(values)
    if not values:
        raise Failed("nothing was measured")
    return [values[int((len(values) - 1) * q)] for q in (0.5, 0.99, 1.0)]


def listed(values, unit):
    return " / ".join(f"{value:.1f}" for value in values) + f" {unit}"


class Nats:
    """One nats-server of `count`; it is killed and started again under the same address."""

    def __init__(self, folder, ports, place=0):
        self.port, self.watch_port, own_route = ports[place]
        self.name, self.process, self.log = f"n{place + 1}", None, tempfile.TemporaryFile()
        routes = ", ".join(f'"nats-route://127.0.0.1:{route}"' for _, _, route in ports)
        cluster = f'cluster {{ name: "bench", listen: "127.0.0.1:{own_route}", routes: [{routes}] }}\n'
        store = folder / f"nats{self.port}"
        self.config = folder / f"nats{self.port}.conf"
        self.config.write_text(
            f'server_name: "{self.name}"\nlisten: "127.0.0.1:{self.port}"\nhttp: "127.0.0.1:{self.watch_port}"\n'
            f'jetstream {{ store_dir: "{store}", max_memory_store: 1GB, max_file_store: 1GB }}\n'
            + (cluster if len(ports) > 1 else "")
        )
        self.start()

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        self.process = subprocess.Popen(
            ["taskset", "-c", SERVER_CORE, "nats-server", "-c", str(self.config)],
            stdout=self.log,
            stderr=self.log,
        )

    def listens(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def traffic(self):
        """Bytes that came in and went out, of clients and of other servers."""
        told = get_json(self.watch_port, "/varz")
        return told["in_bytes"], told["out_bytes"]

    def leader(self, stream="stillwatch"):
        """The name of the server that leads the stream."""
        told = get_json(self.watch_port, "/jsz?accounts=true&streams=true")
        found = [one for account in told["account_details"] for one in account["stream_detail"]]
        return next(one["cluster"]["leader"] for one in found if one["name"] == stream)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.log.close()


class Crowd:
    """Viewers at one relay, each with the next of the cameras; `seen` are all frames that any of them had."""

    def __init__(self, bench, relay, cameras, viewers, seconds, settle=SETTLE):
        self.file = bench.folder / f"seen{bench.next_port()}"
        paths = ",".join(f"/cameras/{camera}/live.ws" for camera in cameras)
        command = ["taskset", "-c", CLIENT_CORE, str(bench.target / "crowd"), "--kind", "ws"]
        command += ["--address", f"127.0.0.1:{relay.port}", "--paths", paths, "--viewers", str(viewers)]
        command += ["--seconds", str(seconds), "--settle", str(settle), "--seen", str(self.file)]
        self.process, self.relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True), relay
        self.result, self.seen = None, {}

    def end(self):
        """By (place of the camera, stamp): when the first had it, when the last, how many had. In ns."""
        said, _ = self.process.communicate()
        if self.process.returncode != 0:
            raise Failed(f"the viewers of {self.relay.name} failed")
        self.result = json.loads(said)
        for line in self.file.read_text().splitlines():
            place, stamp, *seen = map(int, line.split())
            self.seen[place, stamp] = seen
        self.file.unlink()
        return self

    def longest_gap(self, since, until_):
        """The longest time without a new frame of one camera in ns, and its median over cameras."""
        arrivals = collections.defaultdict(list)
        for (place, _), (first, _, _) in self.seen.items():
            if since <= first <= until_:
                arrivals[place].append(first)
        gaps = []
        for times in arrivals.values():
            gaps.append(max(b - a for a, b in itertools.pairwise(sorted([since, *times, until_]))))
        return max(gaps), sorted(gaps)[len(gaps) // 2]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Cameras:
    """A crowd of cameras that upload to one relay."""

    def __init__(self, bench, relay, count, fps, seconds, first=0, pictures=None, more=()):
        command = ["taskset", "-c", CLIENT_CORE, str(bench.target / "cameras"), "--address", f"127.0.0.1:{relay.port}"]
        command += ["--password", PASSWORD, "--cameras", str(count), "--first", str(first), "--fps", str(fps)]
        command += ["--pictures", str(pictures or bench.pictures), "--seconds", str(seconds), *more]
        self.names = [name(number) for number in range(first, first + count)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "connected\n":
            raise Failed("the cameras can't connect")
        self.connected = time.monotonic()

    def end(self):
        result = json.loads(self.process.communicate()[0])
        if result["ended"] or result["refused"]:
            raise Failed(f"{result['ended']} cameras were disconnected, {result['refused']} frames refused: {result['why']}")
        return result

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Usage:
    """What processes take of the machine between two moments."""

    def __init__(self, **processes):
        self.processes = processes
        self.before, self.began = self.spent(), time.monotonic()

    def spent(self):
        return {name: spent(process.pid) for name, process in self.processes.items()}

    def take(self):
        after, took = self.spent(), time.monotonic() - self.began
        self.percent = {name: (after[name] - self.before[name]) / took * 100 for name in after}
        return self

    def __str__(self):
        return ", ".join(f"{name} {percent:.0f} %" for name, percent in self.percent.items())


class Watch(threading.Thread):
    """Asks relays several times a second for stills and states, and notes what they say."""

    def __init__(self, relays, stills):
        super().__init__(daemon=True)
        self.relays, self.stills, self.notes, self.over = relays, stills, [], threading.Event()
        self.answered, self.failed = 0, 0

    def run(self):
        while not self.over.wait(0.1):
            for relay in self.relays:
                told = None
                try:
                    for camera in self.stills:
                        get(relay.port, f"/cameras/{camera}/live.jpeg")
                        self.answered += 1
                    told = states(relay)
                except (OSError, ValueError):
                    self.failed += 1
                self.notes.append((time.monotonic(), relay, told))

    def first(self, since, relay, holds):
        """When after `since` the states of a relay were so for the first time."""
        told = ((at - since, told) for at, of, told in self.notes if at >= since and of is relay and told)
        return next((after for after, states_ in told if holds(states_)), None)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(10)
