"""The relay under attack: `scripts/bench attacks`. How old viewers' pictures are, and what the relay takes, without
and during each attack of docs/security.md that costs something. As a program of its own it is the attacker."""

import json
import os
import socket
import subprocess
import sys
import time

import bench_relay

# What one address may have, and a bit: who attacks from one holds as many.
HELD = 250

WEBSOCKET = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: stillwatch.v1\r\n"
)


class Attacker:
    def __init__(self, port, seconds):
        self.target, self.until, self.count = ("127.0.0.1", port), time.monotonic() + seconds, 0

    def goes_on(self):
        return time.monotonic() < self.until

    def connect(self, number=2):
        try:
            end = socket.socket()
            end.bind((f"127.0.0.{number}", 0))
            end.settimeout(1)
            end.connect(self.target)
            self.count += 1
            return end
        except OSError:
            return None

    def send(self, end, piece):
        """False once the other end has closed."""
        try:
            end.setblocking(False)
            try:
                if not end.recv(1 << 16):
                    return False
            except BlockingIOError:
                pass
            end.send(piece)
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def hold(self, many, begin, piece, pause=0.0):
        """Keeps so many connections, each begun and then sent a piece, again and again."""
        held = []
        while self.goes_on():
            while len(held) < many and (end := self.connect()):
                if not self.send(end, begin):
                    end.close()
                    break
                held.append(end)
            alive = []
            for end in held:
                if not piece or self.send(end, piece):
                    alive.append(end)
                else:
                    end.close()
            held = alive
            time.sleep(max(pause, 0.001))

    def ask(self, many, request):
        """So many connections on which one request follows the other; `request` gets a number."""
        ends = [self.connect() for _ in range(many)]
        number, self.count = 0, 0
        while self.goes_on():
            for index, end in enumerate(ends):
                try:
                    if end is None:
                        raise OSError
                    number += 1
                    end.sendall(request(number))
                    end.recv(1 << 16)
                    self.count += 1
                except OSError:
                    if end:
                        end.close()
                    ends[index] = self.connect()
                    self.count -= ends[index] is not None

    def get(self, path):
        return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def frame(first, payload):
    return bytes([first, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def bomb(side, scans):
    """A progressive picture whose scans say nothing, and are about all of it."""
    blocks = ((side + 7) // 8) ** 2
    two = side.to_bytes(2, "big")
    out = b"\xff\xd8\xff\xdb\0\x43\0" + b"\1" * 64 + b"\xff\xc2\0\x0b\x08" + two + two + b"\1\1\x11\0"
    for kind, symbol in ((0, 0), (0x10, 0xE0)):
        out += b"\xff\xc4\0\x14" + bytes([kind, 1]) + b"\0" * 15 + bytes([symbol])
    out += b"\xff\xda\0\x08\1\1\0\0\0\0" + b"\0" * (blocks // 8 + 1)
    scan = b"\xff\xda\0\x08\1\1\0\1\x3f\0" + b"\0" * ((blocks // 16384 + 1) * 2 + 1)
    return out + scan * scans + b"\xff\xd9"


def slow_heads(a):
    a.hold(HELD, b"GET / HTTP/1.1\r\nX: ", b"x", 1.0)


def flood(a):
    held, number = [], 0
    while a.goes_on():
        number += 1
        end = a.connect(2 + number % 20)
        if end:
            held.append(end)
        if len(held) > 4000:
            held.pop(0).close()


def deaf(a):
    a.hold(HELD, a.get("/live.mjpeg"), b"", 0.5)


def oversized(a):
    head = b"POST /?password=guess HTTP/1.1\r\nHost: a\r\nContent-Length: 80000000\r\n\r\n"
    a.hold(20, head, b"x" * (1 << 16))


def requests(a):
    a.ask(16, lambda _: a.get("/live.jpeg"))


def pipelined(a):
    a.hold(50, a.get("/live.jpeg") * 500, a.get("/live.jpeg") * 500)


def pings(a):
    a.hold(50, f"GET /live.ws HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n".encode(), frame(0x89, b"p" * 125) * 200)


def fragments(a):
    begun = f"GET /live.ws HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n".encode() + frame(1, b"{")
    a.hold(50, begun, frame(0, b"") * 5000)


def guesses(a):
    a.ask(16, lambda n: f"POST /?password=guess-{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())


def sizes(a):
    a.ask(16, lambda n: a.get(f"/live{n % 1000 + 1}x{n % 1000 + 1}.jpeg"))


def history(a):
    a.ask(8, lambda n: a.get("/history?limit=10000"))


def bombs(a):
    """Somebody who has a camera's password."""
    picture = bomb(4000, 10_000)
    head = f"POST /cameras/bomb?password={bench_relay.PASSWORD} HTTP/1.1\r\nHost: a\r\nContent-Length: "
    both = head.encode() + f"{len(picture)}\r\n\r\n".encode() + picture
    a.ask(2, lambda n: both if n % 4 < 2 else a.get(f"/cameras/bomb/live{n % 8 + 10}x10.jpeg"))


ATTACKS = {
    "none": ("none", None),
    "slow-heads": (f"{HELD} heads that come byte by byte", slow_heads),
    "flood": ("connections from 20 addresses, as fast as possible", flood),
    "deaf": (f"{HELD} viewers that never read", deaf),
    "oversized": ("20 uploads of 80 MB without a password", oversized),
    "requests": ("stills, as fast as possible", requests),
    "pipelined": ("50 connections of requests whose answers are not read", pipelined),
    "pings": ("50 WebSockets of pings", pings),
    "fragments": ("50 WebSockets of fragments without an end", fragments),
    "guesses": ("guessed passwords, as fast as possible", guesses),
    "sizes": ("a thousand sizes, as fast as possible", sizes),
    "history": ("the history's list, as fast as possible", history),
    "bombs": ("pictures of 10,000 scans, with a camera's password", bombs),
}


class Bench(bench_relay.Bench):
    def server(self):
        self.port += 1
        environment = {
            "PASSWORD": bench_relay.PASSWORD,
            "STILLWATCH_RELAY_PROXIES": "none",
            "STILLWATCH_RELAY_MAX_CONNECTIONS": "2000",
        }
        command = [str(self.target / "stillwatch-relay"), "--listen", f"127.0.0.1:{self.port}"]
        command += ["--data-dir", str(self.folder / f"data{self.port}")]
        feeder = ["post", str(self.pictures), f"127.0.0.1:{self.port}"]
        return bench_relay.Server("stillwatch", command, self.port, environment, feeder)

    def one(self, name):
        seconds, settle = self.options.seconds, 4
        with self.server() as server:
            server.feed(5, seconds + settle + 3)
            command = ["taskset", "-c", bench_relay.CLIENT_CORE, "nice", "-n", "10", sys.executable, __file__]
            command += [name, str(server.port), str(seconds + settle)]
            attacker = None
            viewers = ["taskset", "-c", bench_relay.CLIENT_CORE, str(self.target / "crowd"), "--kind", "mjpeg"]
            viewers += ["--address", f"127.0.0.1:{server.port}", "--paths", "/live.mjpeg", "--viewers", "100"]
            viewers += ["--seconds", str(seconds), "--settle", str(settle)]
            crowd = subprocess.Popen(viewers, stdout=subprocess.PIPE, text=True)
            # Those who watch are there before the attack begins.
            time.sleep(1)
            if name != "none":
                attacker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            time.sleep(settle - 1)
            before, began, fds = bench_relay.spent(server.pid), time.monotonic(), 0
            while time.monotonic() - began < seconds - 0.5:
                fds = max(fds, len(os.listdir(f"/proc/{server.pid}/fd")))
                time.sleep(0.25)
            cpu = (bench_relay.spent(server.pid) - before) / (time.monotonic() - began) * 100
            memory = bench_relay.memory(server.pid, "VmHWM")
            said, _ = crowd.communicate()
            done = json.loads(attacker.communicate()[0])["count"] if attacker else 0
            feed = server.fed()
        return {**json.loads(said), "cpu": cpu, "memory": memory, "fds": fds, "done": done, "feed": feed}

    def run(self):
        if not self.options.debug:
            self.build()
        names = self.options.only.split(",") if self.options.only else list(ATTACKS)
        self.say(
            f"100 MJPEG viewers of one camera, 5 fps of {bench_relay.PICTURE_BYTES} bytes, {self.options.seconds} s each. "
            "The relay has one core; viewers, camera and attacker share the other. *Done* counts connections, or "
            "requests where one follows the other.",
            "",
            "| attack | age p50 / p99 / max, ms | viewers lost | fps min | upload p99, ms | relay's CPU % | peak MiB "
            "| descriptors | done |",
            "|---|---|---|---|---|---|---|---|---|",
        )
        for name in names:
            r = self.one(name)
            self.say(
                f"| {ATTACKS[name][0]} | {r['age_p50_ms']:.0f} / {r['age_p99_ms']:.0f} / {r['age_max_ms']:.0f} "
                f"| {r['ended']} | {r['fps_min']:.1f} | {r['feed']['p99']:.0f} | {r['cpu']:.0f} | {r['memory']:.0f} "
                f"| {r['fds']} | {r['done']} |"
            )
        return self.lines


def attacks(root, options):
    bench = Bench(root, options)
    if options.debug:
        bench.target = bench.target.parent / "debug"
    return bench.run()


if __name__ == "__main__":
    attack, port, seconds = sys.argv[1:]
    attacker = Attacker(int(port), float(seconds))
    try:
        ATTACKS[attack][1](attacker)
    finally:
        print(json.dumps({"count": attacker.count}))
