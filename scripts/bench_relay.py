"""The relay beside its peers: `scripts/bench relay`. The server on one core, viewers and cameras on
the other; the same pictures for all, each with the time of its making inside."""

import collections
import http.client
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

SERVER_CORE, CLIENT_CORE = "0", "1"
PICTURE_BYTES = 50_000
PICTURES = 8
PASSWORD = "bench"


def pictures(folder, size="1280x720", length=PICTURE_BYTES):
    """JPEGs of that many bytes each, that can be decoded, with room for a stamp."""
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=5"]
        + ["-frames:v", str(PICTURES), "-q:v", "8", str(folder / "raw%d.jpeg")],
        check=True,
    )
    for number in range(PICTURES):
        raw = folder / f"raw{number + 1}.jpeg"
        jpeg = raw.read_bytes()
        raw.unlink()
        stamp = b"SWSTAMP:" + b"0" * 20
        head = b"\xff\xd8" + b"\xff\xfe" + (len(stamp) + 2).to_bytes(2, "big") + stamp
        missing = length - len(head) - (len(jpeg) - 2)
        if missing < 4:
            sys.exit(f"the pictures are larger than {length} bytes")
        padding = b"\xff\xfe" + (missing - 2).to_bytes(2, "big") + b"p" * (missing - 4)
        (folder / f"{number}.jpg").write_bytes(head + padding + jpeg[2:])


def stamped(jpeg):
    return jpeg[:14] + b"%020d" % time.monotonic_ns() + jpeg[34:]


def feed(folder, fps, seconds, address, file):
    """A camera: uploads by POST, or replaces a file, `fps` times a second. Prints how long the
    answers took, from the stamp on, in ms."""
    ring = [path.read_bytes() for path in sorted(pathlib.Path(folder).glob("*.jpg"))]
    connection = http.client.HTTPConnection(address) if address else None
    began, trips, number = time.monotonic(), [], 0
    while True:
        due = began + number / fps
        if due - began >= seconds:
            break
        time.sleep(max(0, due - time.monotonic()))
        before = time.monotonic_ns()
        jpeg = stamped(ring[number % len(ring)])
        if connection:
            connection.request("POST", f"/?password={PASSWORD}", jpeg)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                sys.exit(f"the upload was answered {answer.status}")
        else:
            pathlib.Path(file + ".tmp").write_bytes(jpeg)
            os.replace(file + ".tmp", file)
        trips.append((time.monotonic_ns() - before) / 1e6)
        number += 1
    trips.sort()
    at = lambda q: trips[int((len(trips) - 1) * q)]
    print(json.dumps({"frames": number, "p50": at(0.5), "p99": at(0.99), "max": trips[-1]}))


def spent(pid):
    """Seconds on a processor, all threads and children (proc(5), schedstat)."""
    total = 0
    for process in [pid, *children(pid)]:
        for task in pathlib.Path(f"/proc/{process}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def children(pid):
    try:
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def memory(pid, what):
    """MiB of all its processes; VmHWM is the peak, VmRSS what it has now."""
    total = 0
    for process in [pid, *children(pid)]:
        for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                total += int(line.split()[1])
    return total / 1024


class Server:
    """A server pinned to its core, and what feeds it."""

    def __init__(self, name, command, port, environment=None, feeder=None, folder=None):
        self.name, self.port = name, port
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            ["taskset", "-c", SERVER_CORE, *command],
            env={**os.environ, **(environment or {})},
            stdout=self.log,
            stderr=self.log,
            cwd=folder,
        )
        self.feeder_command, self.feeder = feeder, None
        self.wait()

    @property
    def pid(self):
        return self.process.pid

    def wait(self):
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        sys.exit(f"{self.name} did not start")

    def feed(self, fps, seconds):
        if self.feeder_command is None:
            return
        self.feeder = subprocess.Popen(
            ["taskset", "-c", CLIENT_CORE, sys.executable, __file__, *self.feeder_command]
            + [str(fps), str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(0.5)

    def fed(self):
        if self.feeder is None:
            return None
        said, _ = self.feeder.communicate()
        self.feeder = None
        return json.loads(said)

    def stop(self):
        if self.feeder:
            self.feeder.kill()
            self.feeder.wait()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(8)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Bench:
    def __init__(self, root, options):
        self.root, self.options = root, options
        self.target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release"
        self.work = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.work.name)
        self.pictures = self.folder / "pictures"
        self.pictures.mkdir()
        pictures(self.pictures)
        self.port = 19000 + os.getpid() % 900
        self.lines = []

    def build(self):
        packages = ["stillwatch-relay", "crowd", "fakecam"]
        command = ["cargo", "build", "--quiet", "--release"]
        for package in packages:
            command += ["-p", package]
        subprocess.run(command, cwd=self.root, check=True)

    def relay(self):
        self.port += 1
        data = self.folder / f"data{self.port}"
        environment = {
            "PASSWORD": PASSWORD,
            "STILLWATCH_RELAY_MAX_CONNECTIONS": "10000",
        }
        command = [str(self.target / "stillwatch-relay"), "--listen", f"127.0.0.1:{self.port}"]
        command += ["--data-dir", str(data)]
        feeder = ["post", str(self.pictures), f"127.0.0.1:{self.port}"]
        return Server("stillwatch", command, self.port, environment, feeder)

    def ustreamer(self, fps):
        self.port += 1
        environment = {
            "LD_PRELOAD": str(self.target / "libfakecam.so"),
            "FAKECAM_DEVICE": "/dev/video-bench",
            "FAKECAM_FORMATS": "MJPG",
            "FAKECAM_FRAMES": str(self.pictures),
        }
        command = ["ustreamer", "--device", "/dev/video-bench", "--format", "MJPEG"]
        command += ["--encoder", "HW", "--resolution", "1280x720", "--desired-fps", str(fps)]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        return Server("ustreamer", command, self.port, environment)

    def motion(self, fps):
        """It decodes and encodes each picture, so the stamp inside is lost and with it the age."""
        self.port += 1
        config = self.folder / "motion.conf"
        config.write_text(
            f"daemon off\nlog_level 1\nvideodevice /dev/video0\nv4l2_palette 8\nwidth 1280\n"
            f"height 720\nframerate {fps}\nstream_port {self.port}\nstream_localhost on\n"
            f"stream_maxrate {fps}\nstream_quality 60\nwebcontrol_port 0\nthreshold 900000\n"
            f"picture_output off\nmovie_output off\ntarget_dir {self.folder}\n"
        )
        environment = {
            "LD_PRELOAD": str(self.target / "libfakecam.so"),
            "FAKECAM_DEVICE": "/dev/video0",
            "FAKECAM_FORMATS": "MJPG",
            "FAKECAM_FRAMES": str(self.pictures),
        }
        return Server("motion", ["motion", "-n", "-c", str(config)], self.port, environment)

    def nginx(self):
        self.port += 1
        folder = self.folder / "nginx"
        folder.mkdir(exist_ok=True)
        config = folder / "nginx.conf"
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        )
        config.write_text(
            f"daemon off; worker_processes 1; pid {folder}/pid; error_log stderr; user root;\n"
            f"events {{ worker_connections 8192; }}\nhttp {{ access_log off; sendfile on;\n"
            f"tcp_nopush on; keepalive_requests 100000000; {temporary}\n"
            f"types {{ image/jpeg jpeg; }}\n"
            f"server {{ listen 127.0.0.1:{self.port}; root {folder}; }} }}\n"
        )
        feeder = ["file", str(self.pictures), str(folder / "live.jpeg")]
        command = ["nginx", "-e", "stderr", "-c", str(config)]
        return Server("nginx", command, self.port, feeder=feeder)

    def crowd(self, server, kind, paths, viewers, seconds, settle=3, more=()):
        """Runs a crowd, and measures the server during the crowd's own window."""
        command = ["taskset", "-c", CLIENT_CORE, str(self.target / "crowd")]
        command += ["--kind", kind, "--address", f"127.0.0.1:{server.port}"]
        command += ["--paths", ",".join(paths), "--viewers", str(viewers)]
        command += ["--seconds", str(seconds), "--settle", str(settle), *more]
        crowd = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        # Connecting takes its part of the first second; the crowd settles from then on.
        time.sleep(settle + 0.5)
        before, began = spent(server.pid), time.monotonic()
        time.sleep(max(0.5, seconds - 1))
        after, took = spent(server.pid), time.monotonic() - began
        result = {"memory": memory(server.pid, "VmHWM"), "now": memory(server.pid, "VmRSS")}
        said, _ = crowd.communicate()
        if crowd.returncode != 0:
            sys.exit(f"the crowd failed at {server.name}")
        return {**json.loads(said), **result, "server_cpu": (after - before) / took * 100}

    def say(self, *lines):
        for line in lines:
            print(line, flush=True)
            self.lines.append(line)

    def table(self, title, rows, targets):
        """Rows of (name, result); targets of (text, met)."""
        self.say(
            f"**{title}**",
            "",
            "| server | CPU % | fps median / min | age p50 / p99 / max, ms | peak MiB "
            "| first frame p50 / p99, ms | client's core % |",
            "|---|---|---|---|---|---|---|",
        )
        for name, r in rows:
            age = f"{r['age_p50_ms']:.0f} / {r['age_p99_ms']:.0f} / {r['age_max_ms']:.0f}"
            age = age if r["ages"] else "not measurable"
            first = f"{r['first_frame_p50_ms']:.0f} / {r['first_frame_p99_ms']:.0f}"
            self.say(
                f"| {name} | {r['server_cpu']:.1f} | {r['fps_median']:.2f} / {r['fps_min']:.2f} "
                f"| {age} | {r['memory']:.1f} | {first} | {r['cpu_percent']:.0f} |"
            )
        self.say("")
        self.targets(targets)

    def targets(self, targets):
        for text, met in targets:
            self.say(f"- {'met' if met else '**not met**'}: {text}")
        self.say("")

    def viewers(self, make, fps, kind, viewers, paths=None, seconds=None, more=()):
        seconds = seconds or self.options.seconds
        paths = paths or {"mjpeg": ["/live.mjpeg"], "ws": ["/live.ws"]}[kind]
        with make() as server:
            settle = 3 if viewers <= 1000 else 6
            server.feed(fps, seconds + settle + 3)
            result = self.crowd(server, kind, paths, viewers, seconds, settle, more)
            result["feed"] = server.fed()
            return result

    def five(self):
        n = self.options.viewers
        ours = self.viewers(self.relay, 5, "mjpeg", n)
        theirs = self.viewers(lambda: self.ustreamer(5), 5, "mjpeg", n, ["/stream"])
        rows = [("stillwatch", ours), (f"ustreamer {version('ustreamer')}", theirs)]
        try:
            motion = self.viewers(lambda: self.motion(5), 5, "mjpeg", n, ["/"])
            rows.append((f"motion {version('motion')}", motion))
        except SystemExit as error:
            self.say(f"motion is left out: {error}", "")
        ratio = ours["server_cpu"] / theirs["server_cpu"]
        p99 = ours["age_p99_ms"] / theirs["age_p99_ms"]
        trip = ours["feed"]["p99"]
        self.table(
            f"{n} MJPEG viewers, 5 fps",
            rows,
            [
                (f"CPU {ratio:.2f} x ustreamer's (at most 0.25)", ratio <= 0.25),
                (f"p99 age {p99:.2f} x ustreamer's (at most 0.4)", p99 <= 0.4),
                (f"peak memory {ours['memory']:.1f} MiB (at most 25)", ours["memory"] <= 25),
                (f"upload answered within {trip:.1f} ms, p99 (under 20)", trip < 20),
            ],
        )
        pushed = self.viewers(self.relay, 5, "ws", n)
        ratio = pushed["server_cpu"] / ours["server_cpu"]
        self.table(
            f"{n} WebSocket viewers, 5 fps",
            [("stillwatch", pushed)],
            [(f"CPU {ratio:.2f} x MJPEG's (at most 1.2)", ratio <= 1.2)],
        )

    def fast(self):
        n = self.options.viewers
        ours = self.viewers(self.relay, 15, "mjpeg", n)
        theirs = self.viewers(lambda: self.ustreamer(15), 15, "mjpeg", n, ["/stream"])
        self.table(
            f"{n} MJPEG viewers, 15 fps",
            [("stillwatch", ours), (f"ustreamer {version('ustreamer')}", theirs)],
            [
                (
                    f"every viewer {ours['fps_min']:.2f} fps (at least 14.9, give or take the frame at "
                    "the window's edge)",
                    ours["fps_min"] + 1 / self.options.seconds >= 14.9,
                ),
                (f"{ours['server_cpu']:.1f} % of the core (under 40)", ours["server_cpu"] < 40),
            ],
        )
        ours = self.viewers(self.relay, 30, "mjpeg", n)
        self.table(
            f"{n} MJPEG viewers, 30 fps",
            [("stillwatch", ours)],
            [(f"{ours['fps_median']:.2f} fps (at least 29)", ours["fps_median"] >= 29)],
        )

    def many(self):
        n = self.options.viewers * 5
        with self.relay() as server:
            server.feed(1, self.options.seconds + 12)
            empty = memory(server.pid, "VmRSS")
            ours = self.crowd(server, "mjpeg", ["/live.mjpeg"], n, self.options.seconds, 6)
            each = (ours["now"] - empty) * 1024 / n
        self.table(
            f"{n} MJPEG viewers, 1 fps",
            [("stillwatch", ours)],
            [
                (f"all served: {ours['fps_min']:.2f} fps at least", ours["fps_min"] > 0.85),
                (f"p99 age {ours['age_p99_ms']:.0f} ms (under 500)", ours["age_p99_ms"] < 500),
                (f"{each:.1f} KiB a viewer (under 12)", each < 12),
            ],
        )

    def stills(self):
        rows = {}
        for name, make, more in [
            ("stillwatch", self.relay, ()),
            ("nginx", self.nginx, ()),
            ("stillwatch, 304", self.relay, ("--conditional",)),
        ]:
            with make() as server:
                server.feed(5, self.options.seconds + 6)
                result = self.crowd(
                    server, "still", ["/live.jpeg"], 64, self.options.seconds, 2, more
                )
                rate = result["frames"] / self.options.seconds
                result["each"] = result["server_cpu"] / 100 / rate * 1e6
                result["rate"] = rate
                rows[name] = result
        rows["ustreamer"] = self.snapshot()
        self.say("**Stills, 64 connections asking as fast as they can**", "")
        self.say("| server | stills/s | CPU µs per still | CPU % | of them 304 | client's core % |")
        self.say("|---|---|---|---|---|---|")
        for name, r in rows.items():
            known = r["not_modified"] / max(1, r["frames"])
            self.say(
                f"| {name} | {r['rate']:.0f} | {r['each']:.1f} | {r['server_cpu']:.0f} "
                f"| {known:.0%} | {r['cpu_percent']:.0f} |"
            )
        self.say("")
        ratio = rows["stillwatch"]["each"] / rows["nginx"]["each"]
        known = rows["stillwatch"]["each"] / rows["stillwatch, 304"]["each"]
        self.targets(
            [
                (f"CPU per still {ratio:.2f} x nginx's sendfile (at most 1.0)", ratio <= 1.0),
                (f"304 {known:.1f} x our own 200 per CPU second (at least 2)", known >= 2),
            ]
        )

    def snapshot(self):
        with self.ustreamer(5) as server:
            time.sleep(2)
            result = self.crowd(server, "still", ["/snapshot"], 64, self.options.seconds, 2)
        rate = max(1, result["frames"] / self.options.seconds)
        return {**result, "rate": rate, "each": result["server_cpu"] / 100 / rate * 1e6}

    def slow(self):
        n = self.options.viewers
        seconds = 60 if not self.options.quick else 6
        rate = ["--slow", str(int(PICTURE_BYTES * 5 * 0.4))]
        rows = [
            ("stillwatch, MJPEG", 2.0, self.viewers(self.relay, 5, "mjpeg", n, None, seconds, rate)),
            ("stillwatch, WebSocket", 1.0, self.viewers(self.relay, 5, "ws", n, None, seconds, rate)),
            (
                "ustreamer, MJPEG",
                None,
                self.viewers(
                    lambda: self.ustreamer(5), 5, "mjpeg", n, ["/stream"], seconds, rate
                ),
            ),
        ]
        self.say(f"**One viewer that reads at 40 % of the stream's rate, {seconds} s, among {n}**", "")
        self.say("| server | its oldest picture, s | in the last third, s | others' p99 age, ms |")
        self.say("|---|---|---|---|")
        for name, _, r in rows:
            slow = (r["slow_max_ms"] or 0) / 1e3
            late = (r["slow_late_max_ms"] or 0) / 1e3
            self.say(f"| {name} | {slow:.2f} | {late:.2f} | {r['age_p99_ms']:.0f} |")
        self.say("")
        self.targets(
            [
                (f"{name}: {r['slow_max_ms'] / 1e3:.2f} s (at most {limit:.0f} s)",
                 r["slow_max_ms"] <= limit * 1e3 and r["slow_frames"] > seconds / 2)
                for name, limit, r in rows
                if limit
            ]
        )

    def sizes(self):
        n = self.options.viewers
        sizes = ["800x600", "640x480", "320x240"]
        with self.relay() as server:
            server.feed(5, self.options.seconds + 5)
            paths = [f"/live.mjpeg?size={size}" for size in sizes]
            result = self.crowd(server, "mjpeg", paths, n, self.options.seconds, 3)
            server.fed()
            time.sleep(0.5)
            counts = metrics(server.port)
        made = counts['stillwatch_scaled_total{camera="default"}']
        frames = counts['stillwatch_frames_received_total{camera="default"}']
        self.table(
            f"{n} MJPEG viewers asking for three sizes, 5 fps",
            [("stillwatch", result)],
            [
                (
                    f"{made:.0f} scaled pictures of {frames:.0f} frames: each size at most once per frame",
                    frames < made <= 3 * frames,
                )
            ],
        )

    def run(self):
        self.build()
        rows = collections.OrderedDict(
            viewers=self.five,
            fast=self.fast,
            many=self.many,
            stills=self.stills,
            slow=self.slow,
            sizes=self.sizes,
        )
        only = self.options.only.split(",") if self.options.only else list(rows)
        self.say(
            f"Pictures of {PICTURE_BYTES} bytes, 1280x720. The server has one core, viewers and camera "
            f"the other. {self.options.seconds} s each after everybody is connected.",
            "",
        )
        for name in only:
            rows[name]()
        return self.lines


def metrics(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (l.rpartition(" ") for l in lines if l[:1] != "#")}


def version(program):
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", program], capture_output=True, text=True
    )
    return query.stdout.split("-")[0].split("+")[0]


def relay(root, options):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < options.viewers * 5 + 100:
        sys.exit(f"{options.viewers * 5} viewers need as many open files; the limit is {hard}")
    options.viewers = 100 if options.quick else options.viewers
    options.seconds = 3 if options.quick else options.seconds
    return Bench(root, options).run()


if __name__ == "__main__":
    how, folder, where, fps, seconds = sys.argv[1:]
    feed(folder, float(fps), float(seconds), where if how == "post" else None, where)
