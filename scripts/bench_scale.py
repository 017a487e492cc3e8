"""Many relays, one picture: `scripts/bench scale`. Each scenario of issue 12 beside its goal, all on this machine, with the
real nats-server. What serves has one core; cameras, agents and viewers have the other."""

import collections
import contextlib
import os
import resource
import subprocess
import time

import bench_relay
from bench_cluster import (
    SETTLE,
    Cameras,
    Crowd,
    Failed,
    Nats,
    Usage,
    Watch,
    get,
    get_json,
    listed,
    name,
    quantiles,
    states,
    until,
)
from bench_relay import CLIENT_CORE, PASSWORD, PICTURE_BYTES, memory, metrics

SMALL_BYTES = 20_000
ADDED_AGE = "stillwatch_cluster_added_age_seconds"

# Agents and cameras of the scenarios in which something is killed.
AGENTS, AGENT_FPS = 10, 5
CAMERAS, FPS = 20, 5
STALE_AFTER = 2
AWAY = 5


class Bench(bench_relay.Bench):
    def __init__(self, root, options):
        super().__init__(root, options)
        self.rows, self.details, self.failed = [], [], []
        self.small = self.folder / "small"
        self.small.mkdir()
        bench_relay.pictures(self.small, "640x360", SMALL_BYTES)

    def build(self):
        command = ["cargo", "build", "--quiet", "--release"]
        for package in ["stillwatch-relay", "stillwatch-agent", "crowd"]:
            command += ["-p", package]
        subprocess.run(command, cwd=self.root, check=True)

    def next_port(self):
        self.port += 1
        return self.port

    def nats(self, count=1):
        """nats-servers, as a context of a list."""
        ports = [tuple(self.next_port() for _ in range(3)) for _ in range(count)]
        with contextlib.ExitStack() as servers:
            started = [servers.enter_context(Nats(self.folder, ports, place)) for place in range(count)]
            for server in started:
                until("nats-server", 10, server.listens)
            return servers.pop_all(), started

    def relay(self, name, servers=(), role="both", port=None, **keys):
        """A relay with further keys, such as cluster_storage="file"."""
        port = port or self.next_port()
        environment = {"STILLWATCH_RELAY_MAX_CONNECTIONS": "19000"}
        if role != "edge":
            environment["PASSWORD"] = PASSWORD
        if servers:
            urls = " ".join(f"nats://127.0.0.1:{server.port}" for server in servers)
            environment |= {"STILLWATCH_CLUSTER_URL": urls, "STILLWATCH_CLUSTER_NAME": name}
            environment["STILLWATCH_CLUSTER_ROLE"] = role
        environment |= {f"STILLWATCH_{key.upper()}": str(value) for key, value in keys.items()}
        command = [str(self.target / "stillwatch-relay"), "--listen", f"127.0.0.1:{port}"]
        command += ["--data-dir", str(self.folder / f"data{port}")]
        relay = bench_relay.Server(name, command, port, environment)
        if servers:
            try:
                until(f"the bus at {name}", 15, lambda: get_json(port, "/healthz")["cluster"] == "works")
            except Failed:
                relay.stop()
                raise
        return relay

    def known(self, relays, cameras):
        for relay in relays:
            until(f"all cameras at {relay.name}", 30, lambda: states(relay).keys() >= set(cameras), 0.2)

    def bus(self):
        cameras, fps = (20, 5) if self.options.quick else (50, 10)
        seconds = self.options.seconds
        servers, (nats,) = self.nats()
        with servers, self.relay("ingest", [nats], "ingest") as ingest, self.relay("edge", [nats], "edge") as edge:
            with Cameras(self, ingest, cameras, fps, seconds + SETTLE + 6) as feed:
                self.known([ingest, edge], feed.names)
                with Crowd(self, ingest, feed.names, cameras, seconds) as here, Crowd(
                    self, edge, feed.names, cameras, seconds
                ) as there:
                    time.sleep(SETTLE + 0.5)
                    traffic, own = nats.traffic(), self.histogram(edge)
                    usage = Usage(ingest=ingest, nats=nats, edge=edge)
                    time.sleep(max(0.5, seconds - 1))
                    usage.take()
                    took = time.monotonic() - usage.began
                    traffic = [(b - a) / took / 1e6 for a, b in zip(traffic, nats.traffic())]
                    own = {bound: count - own.get(bound, 0) for bound, count in self.histogram(edge).items()}
                    here.end(), there.end()
                fed = feed.end()
        both = here.seen.keys() & there.seen.keys()
        added = quantiles((there.seen[key][0] - here.seen[key][0]) / 1e6 for key in both)
        # At the edges of the window one of two has it only.
        inner = sorted(stamp for _, stamp in both)
        inner = [key for key in here.seen if inner[0] + 10**9 < key[1] < inner[-1] - 10**9]
        left_out = sum(key not in both for key in inner) / max(1, len(inner))
        self.row(
            f"age added by the bus, {fps * cameras} frames/s of {PICTURE_BYTES // 1000} KB, p50 / p99 / max",
            listed(added, "ms"),
            "p99 under 15 ms",
            added[1] < 15,
        )
        within = lambda bound: own[bound] / max(1, own["+Inf"])
        self.detail(
            f"Bus: {len(both)} frames compared, at a viewer of the relay that takes them and at one of an edge; "
            f"{left_out:.1%} were replaced by a newer one before the edge showed them. Age at the edge p50 / p99 / max "
            f"{there.result['age_p50_ms']:.1f} / {there.result['age_p99_ms']:.1f} / {there.result['age_max_ms']:.1f} ms, "
            f"at the relay that takes them {here.result['age_p50_ms']:.1f} / {here.result['age_p99_ms']:.1f} / "
            f"{here.result['age_max_ms']:.1f} ms. The edge itself counts ({ADDED_AGE}) "
            f"{within('0.005'):.1%} within 5 ms, {within('0.01'):.1%} within 10 ms, {within('0.025'):.1%} within 25 ms. "
            f"NATS takes {traffic[0]:.1f} MB/s and gives {traffic[1]:.1f} MB/s. Processor, of one core together: {usage}. "
            f"Uploads were acknowledged within {fed['acknowledged_p99_ms']:.1f} ms (p99), {fed['skipped']} of "
            f"{fed['sent'] + fed['skipped']} left out because the one before was not."
        )

    def histogram(self, relay):
        """Frames by how much older they were at most when this relay showed them."""
        name, found = f"{ADDED_AGE}_bucket", metrics(relay.port)
        return {key.split('"')[1]: value for key, value in found.items() if key.startswith(name)}

    def spread(self):
        viewers = 100 if self.options.quick else 1000
        seconds, fps = self.options.seconds, 10
        servers, (nats,) = self.nats()
        with contextlib.ExitStack() as stack:
            stack.enter_context(servers)
            relays = [stack.enter_context(self.relay(f"r{n}", [nats])) for n in (1, 2, 3)]
            feed = stack.enter_context(Cameras(self, relays[0], 1, fps, seconds + SETTLE + 8))
            self.known(relays, feed.names)
            crowds = [Crowd(self, relay, feed.names, viewers, seconds, SETTLE + 1) for relay in relays]
            for crowd in crowds:
                stack.enter_context(crowd)
            time.sleep(SETTLE + 1.5)
            usage = Usage(**{relay.name: relay for relay in relays}, nats=nats)
            time.sleep(max(0.5, seconds - 1))
            usage.take()
            for crowd in crowds:
                crowd.end()
            feed.end()
        frames = set.intersection(*(set(crowd.seen) for crowd in crowds))
        sights = [[crowd.seen[key] for crowd in crowds] for key in frames]
        first = quantiles((max(s[0] for s in of) - min(s[0] for s in of)) / 1e6 for of in sights)
        last = quantiles((max(s[1] for s in of) - min(s[0] for s in of)) / 1e6 for of in sights)
        everybody = sum(s[2] for of in sights for s in of) / (len(sights) * 3 * viewers)
        self.row(
            f"three relays with {viewers} viewers each, {fps} fps: from the first relay that shows a frame to the last, "
            "p50 / p99 / max",
            listed(first, "ms"),
            "within 50 ms",
            first[1] <= 50,
        )
        self.row(
            "the same, from the first of all viewers that has it whole to the last",
            listed(last, "ms"),
            f"none set (this machine sends and receives {3 * viewers * PICTURE_BYTES / 1e6:.0f} MB for it)",
            None,
        )
        ages = "; ".join(
            f"{crowd.relay.name} {crowd.result['age_p50_ms']:.1f} / {crowd.result['age_p99_ms']:.1f} / "
            f"{crowd.result['age_max_ms']:.1f}"
            for crowd in crowds
        )
        self.detail(
            f"Three relays: {len(frames)} frames that all three showed, each to {everybody:.1%} of their viewers (who is "
            f"still busy gets the next). Ages in ms, p50 / p99 / max: {ages}. Processor, of one core together: {usage}."
        )

    def agent(self, number, relays):
        urls = " ".join(f"http://127.0.0.1:{relay.port}/" for relay in relays)
        environment = {
            **os.environ,
            "STILLWATCH_PASSWORD": PASSWORD,
            "STILLWATCH_AGENT_CLOCK": "trusted",
            "STILLWATCH_AGENT_STATUS_FILE": str(self.folder / f"agent{number}.json"),
            "STILLWATCH_CAMERA_WARM_UP": "0s",
            "STILLWATCH_HEAL_REBOOT": "false",
        }
        command = ["taskset", "-c", CLIENT_CORE, str(self.target / "stillwatch-agent"), "run", "--relay", urls]
        command += ["--source", "pattern", "--size", "640x360", "--fps", str(AGENT_FPS), "--camera", name(number)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def killed(self):
        """Each time the relay that most agents upload to."""
        agents, kills = (4, 1) if self.options.quick else (AGENTS, 4)
        servers, (nats,) = self.nats()
        with contextlib.ExitStack() as stack:
            stack.enter_context(servers)
            relays, running = [], []
            stack.callback(lambda: [relay.stop() for relay in relays])
            stack.callback(lambda: [(one.kill(), one.wait()) for one in running])
            for n in (1, 2, 3):
                relays.append(self.relay(f"r{n}", [nats]))
            for number in range(agents):
                running.append(self.agent(number, relays))
            names = [name(number) for number in range(agents)]
            received = lambda relay: self.received(relay, names)
            until("the agents' first pictures", 30, lambda: sum(map(bool, received(relays[0]).values())) == agents)
            moves, shown = [], []
            for _ in range(kills):
                time.sleep(1.5)
                counts = [received(relay) for relay in relays]
                time.sleep(1)
                now = [received(relay) for relay in relays]
                busy = lambda n: sum(now[n][one] - counts[n][one] for one in names)
                victim = max(range(3), key=busy)
                others = [relay for n, relay in enumerate(relays) if n != victim]
                before = {relay: received(relay) for relay in others}
                relays[victim].process.kill()
                began, waiting = time.monotonic(), set(names)
                relays[victim].process.wait()

                def moved():
                    for relay in others:
                        found = received(relay)
                        for one in [one for one in waiting if found[one] > before[relay][one]]:
                            moves.append(time.monotonic() - began)
                            waiting.remove(one)
                    return not waiting

                until("all agents at another relay", 20, moved, 0.02)
                live = lambda relay: all(states(relay)[one] == "live" for one in names)
                shown += [until("all live", 10, lambda: live(relay) and time.monotonic() - began, 0.02) for relay in others]
                old = relays[victim]
                relays[victim] = self.relay(old.name, [nats], port=old.port)
        self.row(
            f"relay killed, {kills} times, {agents} agents: their first frame is accepted by another, p50 / p99 / max",
            listed(quantiles(moves), "s"),
            "within 3 s",
            max(moves) <= 3,
        )
        self.detail(f"Killed relays: both others called all cameras live {max(shown):.1f} s after the kill at the latest.")

    def received(self, relay, names):
        found = metrics(relay.port)
        return {one: found.get(f'stillwatch_frames_received_total{{camera="{one}"}}', 0) for one in names}

    def away(self):
        for storage in ("file",) if self.options.quick else ("memory", "file"):
            self.restarted(storage)
        self.leader_killed()

    def restarted(self, storage):
        cameras = CAMERAS // 2 if self.options.quick else CAMERAS
        after = 6
        seconds = AWAY + after + 4
        servers, (nats,) = self.nats()
        with contextlib.ExitStack() as stack:
            stack.enter_context(servers)
            keys = {"cluster_storage": storage, "freshness_stale_after": f"{STALE_AFTER}s"}
            relays = [stack.enter_context(self.relay(f"r{n}", [nats], **keys)) for n in (1, 2, 3)]
            half = cameras // 2
            feeds = [(relays[0], half, 0), (relays[1], cameras - half, half)]
            feeds = [
                stack.enter_context(Cameras(self, relay, count, FPS, seconds + 12, first)) for relay, count, first in feeds
            ]
            names = feeds[0].names + feeds[1].names
            own = [set(feeds[0].names), set(feeds[1].names), set()]
            self.known(relays, names)
            crowds = [stack.enter_context(Crowd(self, relay, names, cameras, seconds, 1)) for relay in relays]
            watch = stack.enter_context(Watch(relays, [names[0], names[-1]]))
            time.sleep(3)
            nats.kill()
            gone = time.monotonic()
            time.sleep(AWAY)
            nats.start()
            back = time.monotonic()
            listening = until("nats-server", 10, lambda: nats.listens() and time.monotonic() - back, 0.01)
            time.sleep(max(0, after - listening))
            watch.over.set()
            watch.join(10)
            for crowd in crowds:
                crowd.end()
        # The newest frame of a camera, made after the bus came back, at each relay's viewer of it.
        newest = []
        for crowd in crowds:
            first = {}
            for (place, stamp), (at, _, _) in crowd.seen.items():
                if stamp > back * 1e9:
                    first[place] = min(at, first.get(place, at))
            if len(first) < cameras:
                raise Failed(f"{crowd.relay.name} did not get all cameras back")
            newest += [at / 1e9 - back for at in first.values()]
        stale, live = [], []
        for relay, mine in zip(relays, own):
            others = lambda told: all((state == "stale") == (one not in mine) for one, state in told.items())
            all_live = lambda told: all(state == "live" for state in told.values())
            stale.append(watch.first(gone, relay, others))
            live.append(watch.first(back, relay, all_live))
        honest = None not in stale and max(stale) < AWAY
        whole = max(newest)
        self.row(
            f"nats-server killed ({storage}): all relays go on with their own cameras, and call those of others stale after "
            f"their patience of {STALE_AFTER} s",
            f"after {max(stale):.1f} s; {watch.failed} of {watch.answered + watch.failed} requests failed"
            if honest
            else "**not said**",
            "all served, marked",
            honest and watch.failed == 0,
        )
        self.row(
            f"nats-server started again after {AWAY} s ({storage}): every relay shows the newest frame of every camera",
            f"{whole:.2f} s after it was started ({listening:.2f} s until it listens)",
            "within 2 s",
            whole <= 2,
        )
        said = f"{max(live):.1f} s" if None not in live else "not within 6 s"
        self.detail(
            f"nats-server restarted ({storage}): {cameras} cameras, {FPS} fps; all of them live at all relays again: {said}."
        )

    def leader_killed(self):
        cameras, seconds = CAMERAS, 24
        servers, nodes = self.nats(3)
        with contextlib.ExitStack() as stack:
            stack.enter_context(servers)
            # Three that have just met have no leader for a moment.
            until("a leader of the three", 20, lambda: get_json(nodes[0].watch_port, "/jsz")["meta_cluster"].get("leader"))
            keys = {"cluster_replicas": 3}
            ingest = stack.enter_context(self.relay("ingest", nodes, "ingest", **keys))
            edge = stack.enter_context(self.relay("edge", nodes, "edge", **keys))
            feed = stack.enter_context(Cameras(self, ingest, cameras, FPS, seconds + 10))
            self.known([ingest, edge], feed.names)
            crowd = stack.enter_context(Crowd(self, edge, feed.names, cameras, seconds, 1))
            time.sleep(5)
            leader = until("the stream's leader", 5, lambda: nodes[0].leader())
            victim = next(node for node in nodes if node.name == leader)
            victim.kill()
            killed = time.monotonic_ns()
            crowd.end()
        second = 10**9
        usual, _ = crowd.longest_gap(killed - 4 * second, killed)
        window = (seconds - 7) * second
        longest, median = crowd.longest_gap(killed, killed + window)
        self.row(
            "the leader of three nats-servers killed (replicas = 3): longest time without a new frame at an edge, median of "
            "cameras / worst",
            f"{median / 1e9:.2f} / {longest / 1e9:.2f} s" + (" or more" if longest > 0.9 * window else ""),
            f"none set ({usual / 1e9:.2f} s before it)",
            None,
        )

    def many(self):
        for bus in (True,) if self.options.quick else (False, True):
            self.thousands(bus)

    def thousands(self, bus):
        count, every = (1_000, 2) if self.options.quick else (10_000, 6)
        patience = 5 * every
        # A frame a minute is written once, and so is one of these.
        keys = {
            "relay_max_cameras": count,
            "store_interval": f"{10 * every}s",
            "history_interval": f"{10 * every}s",
            "freshness_stale_after": f"{patience}s",
        }
        with contextlib.ExitStack() as stack:
            servers, nodes = self.nats() if bus else (contextlib.ExitStack(), [])
            stack.enter_context(servers)
            relay = stack.enter_context(self.relay("home", nodes, **keys))
            edge = [stack.enter_context(self.relay("edge", nodes, "edge", **keys))] if bus else []
            # One of them is the camera that each relay has.
            more = ["--default", "--quiet-after", str(3 * every), "--quiet-every", "3"]
            began = time.monotonic()
            feed = stack.enter_context(
                Cameras(self, relay, count, 1 / every, 8 * every + 8, 0, self.small, more)
            )
            connecting = feed.connected - began
            at = lambda rounds: time.sleep(max(0, feed.connected + rounds * every - time.monotonic()))
            at(2)
            usage = Usage(home=relay, **({"nats": nodes[0], "edge": edge[0]} if bus else {}))
            at(3)
            usage.take()
            resident = memory(relay.pid, "VmRSS")
            wrong = [self.wrong(one, count, lambda number: "live") for one in [relay, *edge]]
            # The last frame of those that fall silent came in the third round.
            at(3 + 3.5)
            wrong += [self.wrong(one, count, lambda number: "live") for one in [relay, *edge]]
            at(3 + 5)
            time.sleep(4)
            third = lambda number: "live" if number % 3 else "stale"
            wrong += [self.wrong(one, count, third) for one in [relay, *edge]]
            before = [memory(one.pid, "VmHWM") for one in (relay, *edge)]
            # As Prometheus does.
            asked = time.monotonic()
            scraped = len(get(relay.port, "/metrics"))
            scrape = time.monotonic() - asked
            for one in edge:
                get(one.port, "/metrics")
            fed = feed.end()
            peaks = [memory(one.pid, "VmHWM") for one in (relay, *edge, *nodes)]
        with_ = "with the bus and an edge" if bus else "without a bus"
        self.row(
            f"{count:,} cameras at one relay, {with_}: peak memory with all their pictures of {SMALL_BYTES // 1000} KB, and "
            "one scrape of its metrics",
            f"{peaks[0]:.0f} MiB" + (f" (edge {peaks[1]:.0f}, NATS {peaks[2]:.0f} MiB)" if bus else ""),
            "below 1 GB",
            peaks[0] * 2**20 < 1e9,
        )
        self.row(
            f"the same: states that are wrong, of {len(wrong)} x {count:,}: all live, still live shortly before their "
            "patience ends, a third stale",
            str(sum(wrong)),
            "0",
            sum(wrong) == 0,
        )
        self.detail(
            f"{count:,} cameras {with_}: each sends a frame every {every} s (so that a run takes no ten minutes), its "
            f"patience is five of these, a picture is written to the database every {10 * every} s. {fed['sent']} frames; "
            f"{fed['skipped']} left out because the one before was not acknowledged; acknowledged p50 / p99 / max "
            f"{fed['acknowledged_p50_ms']:.1f} / {fed['acknowledged_p99_ms']:.1f} / {fed['acknowledged_max_ms']:.1f} ms. "
            f"All connected after {connecting:.1f} s. Resident after three rounds {resident:.0f} MiB; peak before the "
            f"scrape {', edge '.join(f'{mib:.0f} MiB' for mib in before)}. A scrape is {scraped / 1e6:.1f} MB, and takes "
            f"{scrape:.1f} s. Processor at {count / every:.0f} frames/s, of one core together: {usage}."
        )

    def wrong(self, relay, count, state_of):
        """How many cameras are missing, or in another state."""
        told = states(relay)
        names = ["default", *map(name, range(1, count))]
        return sum(told.get(one) != state_of(number) for number, one in enumerate(names))

    def cdn(self):
        """Stills through nginx with the site of docs/nginx that keeps them, each client once a second."""
        site = self.root / "docs" / "nginx" / "stillwatch-cache.conf"
        if not site.exists():
            self.details.append("Shared caches: left out, there is no docs/nginx/stillwatch-cache.conf here.")
            return
        seconds, settle = 5, 2
        rates = {}
        with contextlib.ExitStack() as stack:
            relay = stack.enter_context(self.relay("origin"))
            nginx = stack.enter_context(self.nginx_cache(site, relay))
            steps = [10, 100, 1_000] if self.options.quick else [10, 100, 1_000, 10_000]
            feed = stack.enter_context(Cameras(self, relay, 1, 5, len(steps) * (seconds + settle + 2) + 5))
            self.known([relay], feed.names)
            key = f'stillwatch_frames_sent_total{{camera="{feed.names[0]}",kind="still"}}'
            for clients in steps:
                # What pollers append, each its own.
                paths = [f"/cameras/{feed.names[0]}/live.jpeg?{n}" for n in range(min(clients, 500))]
                before, began = metrics(relay.port).get(key, 0), time.monotonic()
                said = self.crowd(nginx, "still", paths, clients, seconds, settle, ["--every", "1000"])
                came = (metrics(relay.port).get(key, 0) - before) / (time.monotonic() - began)
                rates[clients] = (said["frames"] / seconds, came, said["age_max_ms"] / 1e3, said["ended"])
        few, many = steps[0], steps[-1]
        self.row(
            f"stills through nginx's cache, a client asks once a second: requests/s at the relay with "
            f"{' / '.join(f'{clients:,}' for clients in steps)} clients",
            " / ".join(f"{rates[clients][1]:.2f}" for clients in steps),
            "constant",
            rates[many][1] <= rates[few][1] * 1.5 + 0.5,
        )
        self.detail(
            "Shared caches: answers/s of nginx "
            + " / ".join(f"{rates[clients][0]:.0f}" for clients in steps)
            + ", oldest picture "
            + " / ".join(f"{rates[clients][2]:.1f}" for clients in steps)
            + f" s, clients lost {sum(rates[clients][3] for clients in steps)}."
        )

    def nginx_cache(self, site, relay):
        port = self.next_port()
        folder = self.folder / f"nginx{port}"
        folder.mkdir()
        text = site.read_text()
        for before, after in [
            ("listen 80;", f"listen 127.0.0.1:{port};"),
            ("server 127.0.0.1:5000;", f"server 127.0.0.1:{relay.port};"),
            ("/run/stillwatch-nginx", f"{folder}/kept"),
        ]:
            if before not in text:
                raise Failed(f"{site.name} has no \"{before}\"")
            text = text.replace(before, after)
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        )
        config = folder / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes 1; worker_rlimit_nofile 19000; pid {folder}/pid; error_log stderr; user root;\n"
            f"events {{ worker_connections 16384; }}\nhttp {{ access_log off; {temporary}\n{text} }}\n"
        )
        return bench_relay.Server("nginx", ["nginx", "-e", "stderr", "-c", str(config)], port)

    def row(self, scenario, measured, goal, met):
        self.rows.append((scenario, measured, goal, met))
        self.show(self.rows[-1])

    def show(self, row):
        scenario, measured, goal, met = row
        word = {True: "met", False: "**not met**", None: ""}[met]
        self.say(f"| {scenario} | {measured} | {goal} | {word} |")

    def detail(self, text):
        self.details.append(text)

    def run(self):
        if not self.options.debug:
            self.build()
        scenarios = collections.OrderedDict(
            bus=self.bus, spread=self.spread, killed=self.killed, away=self.away, many=self.many, cdn=self.cdn
        )
        only = self.options.only.split(",") if self.options.only else list(scenarios)
        self.say("| scenario | measured | goal | |", "|---|---|---|---|")
        for scenario in only:
            try:
                scenarios[scenario]()
            except (Failed, OSError, ValueError, LookupError) as why:
                self.failed.append(scenario)
                self.row(scenario, f"**failed**: {why!r}", "", None)
        self.say("", *(f"- {text}" for text in self.details))
        return self.lines


def scale(root, options):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    options.seconds = 4 if options.quick else options.seconds
    bench = Bench(root, options)
    if options.debug:
        bench.target = bench.target.parent / "debug"
    return bench.run(), bench.failed
