// One camera on the page: brings its frames in, draws them, and says how fresh they are.

/** Where this page's relay is. */
const root = new URL("../", document.currentScript.src).href;

/** How often the badge is looked at, in ms. */
const TICK_MS = 250;

/** When the relay has said nothing of the camera's state for so long, it is asked, in ms. */
const SILENCE_MS = 4_000;

/** And what time it is, so often, in ms: two clocks drift by 6 ms in it. */
const CLOCK_MS = 60_000;

/** When it did not answer, it is asked again after so long, in ms. */
const AGAIN_MS = 2_000;

/** How long it may take to answer, in ms. */
const ANSWER_MS = 6_000;

/** A way that brought nothing for so long is no way, in ms. */
const NOTHING_MS = 10_000;

/** A way that brings nothing for so long although there are newer frames is broken, in ms. */
const STALLED_MS = 15_000;

/** Before a way brings its first frame, still pictures bridge the time, one in so many ms. */
const BRIDGE_MS = 1_000;

/** The computer slept if its clocks differ by so much, or nothing ran for so long, in ms. */
const SLEPT_MS = 5_000;

/** Widths to ask for, in pixels: few, because the relay makes few sizes at the same time. */
const WIDTHS = [320, 640, 960, 1280, 1920, 2560, 3840];

/** More pixels per CSS pixel nobody sees in a moving picture. */
const MAX_DENSITY = 2;

/** What the relay calls a camera. */
const STATES = ["live", "stale", "frozen", "offline", "empty"];

class Camera {
  /** What stands before `live.jpeg` in addresses. */
  #base;
  /** The same at other relays. */
  #elsewhere;
  #mirrors;
  #section;
  #canvas;
  #words;
  #time;
  #said;
  #grid;
  #ladder;
  #clock = new RelayClock();
  #rate = new FrameRate();
  /** What the relay said last. */
  #state = null;
  #unchanged = null;
  #empty;
  #stateAt = null;
  #heard = null;
  #unreachable = false;
  /** Since when a newer frame than the drawn one is known to be there; null if none is. */
  #behind = null;
  /** The picture on the screen: captured, seq, jpeg. */
  #drawn = null;
  #etag = null;
  #damaged = false;
  #paused = false;
  /** The moment of the past that is looked at: its gap, or null; null while it is the present. */
  #past = null;
  #shown = true;
  #onScreen = true;
  /** When the newest frame that is known of was captured. */
  #newest = null;
  /** Ends what is running; null if nothing is. */
  #run = null;
  /** Ends the way that is used now. */
  #endWay = null;
  #active = 0;
  #startedAt = 0;
  #tooManySizes = false;
  #width = null;
  /** The question that is under way. */
  #asking = null;
  #askedAt = 0;
  #last = { now: performance.now(), wall: Date.now() };
  kind = "connecting";
  /** Called when what the badge says is of another kind. */
  onkind = () => {};
  /** Called when the picture may not be seen any more. */
  ondenied = () => {};

  constructor(section, { grid = false, way = null } = {}) {
    const find = (name) => section.querySelector(name);
    this.#section = section;
    this.#base = section.dataset.base;
    this.#elsewhere = elsewhere(section.dataset.camera, section.dataset.mirrors ?? "", root);
    this.#mirrors = new Mirrors(1 + this.#elsewhere.length, Math.random());
    this.#canvas = find(".picture");
    this.#words = find(".words");
    this.#time = find(".taken");
    this.#said = find(".said");
    this.#grid = grid;
    this.#ladder = new Ladder(grid ? "poll" : way);
    this.#canvas.hidden = false;
    this.#empty = section.dataset.state === "empty";
    section.dataset.state = this.kind;
    this.#width = this.#fittingWidth();
    new ResizeObserver(() => this.#resized()).observe(find(".stage"));
    if (grid) {
      new IntersectionObserver(([entry]) => {
        const appears = entry.isIntersecting && !this.#onScreen;
        this.#onScreen = entry.isIntersecting;
        if (appears) this.#endWay?.();
      }).observe(section);
    }
    setInterval(() => this.#tick(), TICK_MS);
    this.#render(performance.now());
  }

  get title() {
    return this.#section.getAttribute("aria-label");
  }

  get section() {
    return this.#section;
  }

  get paused() {
    return this.#paused;
  }

  /** The picture on the screen, or null. */
  get picture() {
    return this.#drawn;
  }

  set paused(paused) {
    this.#paused = paused;
    this.#startOrStop();
  }

  /** Shows the present again. */
  leavePast() {
    this.#past = null;
    this.#canvas.hidden = false;
    this.#startOrStop();
  }

  /**
   * Shows a moment of the past instead of the present: a gap, or the frame at `url`.
   * @returns whether it is there
   */
  async showPast({ url, captured, gap }) {
    const moment = { gap };
    this.#past = moment;
    this.#startOrStop();
    // Nobody takes the picture before a gap for one of the gap.
    this.#canvas.hidden = gap !== null;
    if (gap) return true;
    try {
      const response = await fetch(url);
      if (!response.ok) return false;
      const jpeg = await response.blob();
      const picture = await decode(jpeg);
      if (this.#past !== moment) {
        picture.close?.();
        return true;
      }
      paint(this.#canvas, picture);
      this.#drawn = { captured, jpeg, seq: "", relay: 0 };
      this.#etag = null;
      this.#section.dataset.seq = "";
      this.#section.dataset.captured = captured;
      this.#render(performance.now());
      return true;
    } catch {
      return false;
    }
  }

  /** What time it is by the relay's clock, in ms; by the viewer's as long as that is not known. */
  get relayTime() {
    return this.#clock.at(performance.now()) ?? Date.now();
  }

  /** The page is seen, or not. */
  set shown(shown) {
    this.#shown = shown;
    this.#startOrStop();
  }

  /** Begins anew: after a sleep, in another network. */
  restart() {
    this.#stop();
    this.#startOrStop();
  }

  #startOrStop() {
    const wanted = this.#shown && !this.#paused && this.#past === null;
    if (wanted && !this.#run) this.#start();
    if (!wanted && this.#run) this.#stop();
    this.#render(performance.now());
  }

  #stop() {
    this.#run?.abort();
    this.#run = null;
    this.#endWay?.();
    this.#rate.forget();
  }

  #start() {
    // What was known before is as old as the pause was.
    this.#state = null;
    this.#stateAt = null;
    this.#unchanged = null;
    this.#unreachable = false;
    this.#tooManySizes = false;
    this.#startedAt = performance.now();
    this.#askedAt = this.#startedAt;
    this.#behind = null;
    this.#mirrors.works();
    this.#run = new AbortController();
    this.#bring(this.#run.signal);
  }

  /** Keeps one way open, for as long as the page is seen. */
  async #bring(signal) {
    while (!signal.aborted) {
      // What failed while the relay was away says nothing about the way, even if it is back by now.
      const lost = this.#unreachable;
      const alive = await this.#use(this.#ladder.way, signal);
      if (signal.aborted) return;
      const reachable = (await this.#ask(signal)) && !lost;
      const now = performance.now();
      const wait = this.#ladder.ended({ now, alive, reachable, random: Math.random() });
      await pause(wait, signal);
    }
  }

  /** Uses one way until it ends; returns whether anything came. */
  async #use(way, signal) {
    this.#section.dataset.way = way;
    const opened = performance.now();
    const bridge = new AbortController();
    let alive = false;
    let over = false;
    this.#active = opened;
    await new Promise((ended) => {
      const on = {
        alive: () => {
          alive = true;
          this.#contact();
          this.#active = this.#heard;
          // Its frames come by another door.
          if (way === "poll") this.#ladder.worked();
        },
        state: (told) => this.#hear(told, signal),
        frame: async (frame) => {
          bridge.abort();
          if (signal.aborted || over) return;
          this.#ladder.worked();
          this.#hearFrame(frame);
          await this.#show(frame, signal);
        },
        end: () => {
          over = true;
          ended();
        },
      };
      let close = () => {};
      try {
        close = OPEN[way](this.#place(), on);
      } catch {
        // The browser has no such thing, or was told not to.
        ended();
      }
      // Whoever ends it for another reason than that nothing comes does not blame it.
      this.#endWay = (blame = false) => {
        over = true;
        alive ||= !blame;
        close();
        ended();
      };
      if (way !== "poll") this.#bridge(bridge.signal, signal);
      const nothing = setTimeout(() => {
        if (!alive) this.#endWay(true);
      }, NOTHING_MS);
      bridge.signal.addEventListener("abort", () => clearTimeout(nothing));
    });
    bridge.abort();
    this.#endWay = null;
    return alive;
  }

  async #bridge(signal, run) {
    while (!signal.aborted && !run.aborted) {
      // There is none to show, as the relay will say by the way that is being opened.
      if (!this.#empty) await this.#still("GET", run, () => signal.aborted);
      await pause(BRIDGE_MS, signal);
    }
  }

  /** What to ask for, as it stands in addresses; empty for the picture's own size. */
  get #size() {
    return this.#width ? `${this.#width}x65535` : "";
  }

  #address(name, relay = this.#mirrors.here) {
    return relay === 0 ? address(this.#base + name) : address(name, this.#elsewhere[relay - 1]);
  }

  #place() {
    const size = this.#size;
    return {
      pollMs: this.#grid ? GRID_POLL_MS : POLL_MS,
      stream: (name) => this.#address(name + (size ? `?size=${size}` : "")),
      still: (method, signal) => this.#still(this.#onScreen ? method : "HEAD", signal),
    };
  }

  /**
   * Asks for the newest picture, or (HEAD) only what is known of it. What it brings is not drawn if
   * `late()` by then: a better way has begun.
   * @returns whether the relay answered
   */
  async #still(method, signal, late = () => false) {
    const size = this.#size;
    const url = this.#address(`live${size}.jpeg`);
    const abort = new AbortController();
    const stop = () => abort.abort();
    const timer = setTimeout(stop, ANSWER_MS);
    signal.addEventListener("abort", stop);
    const sent = performance.now();
    try {
      const known = method === "GET" && this.#etag;
      const headers = known ? { "If-None-Match": this.#etag } : {};
      const response = await fetch(url, { method, headers, cache: "no-store", signal: abort.signal });
      const received = performance.now();
      if (signal.aborted) return false;
      // Another relay may not know who this is.
      if ([401, 403].includes(response.status) && this.#mirrors.here === 0) this.ondenied();
      const told = this.#read(response.headers);
      if (!told) {
        // Too many sizes are in use, or this picture can't be scaled: then as it is.
        this.#tooManySizes = size !== "" && [422, 503].includes(response.status);
        this.#resized();
        // Otherwise somebody else answered: a proxy without the relay, or a login page.
        return this.#tooManySizes;
      }
      this.#sample(told, sent, received);
      // What was said by another way since it was asked is newer.
      if (!(this.#stateAt > sent)) this.#hear(told, signal);
      if (told.frame) this.#hearFrame(told.frame);
      if (late() || method === "HEAD") return true;
      if (response.status === 304 && this.#drawn) {
        // The same content, captured anew.
        Object.assign(this.#drawn, told.frame);
        this.#behind = null;
        return true;
      }
      if (response.status !== 200 || !told.frame) return true;
      // A body may take its time, as long as it comes.
      clearTimeout(timer);
      const jpeg = await response.blob();
      if (late() || signal.aborted) return true;
      await this.#show({ ...told.frame, jpeg, etag: response.headers.get("etag") }, signal);
      return true;
    } catch {
      return false;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    }
  }

  /** What an answer says of the camera; null if it is not the relay's. */
  #read(headers) {
    const state = headers.get("frame-state");
    if (!STATES.includes(state)) return null;
    const captured = Date.parse(headers.get("frame-captured-at") ?? "");
    const age = Number(headers.get("frame-age-ms") ?? NaN);
    const unchanged = headers.get("frame-unchanged-ms");
    // Only caches say it.
    const kept = headers.get("age");
    const frame = Number.isFinite(captured) ? { captured, seq: headers.get("frame-seq") } : null;
    const time = captured + age + 1_000 * Number(kept ?? 0);
    const spread = kept === null ? 0 : 1_000;
    return { state, unchanged: unchanged === null ? null : Number(unchanged), frame, time, spread };
  }

  #sample({ time, spread }, sent, received) {
    if (Number.isFinite(time)) this.#clock.sample(time, sent, received, spread);
  }

  #hear({ state, unchanged }, signal) {
    if (signal.aborted) return;
    this.#contact();
    this.#state = STATES.includes(state) ? state : this.#state;
    this.#unchanged = unchanged;
    this.#empty = this.#state === "empty";
    this.#stateAt = this.#heard;
    this.#render(this.#heard);
  }

  #hearFrame({ captured }) {
    this.#contact();
    this.#newest = captured;
    // Where nobody sees it, nothing is drawn.
    if (!this.#onScreen) return;
    const drawn = this.#drawn && captured <= this.#drawn.captured;
    this.#behind = drawn ? null : this.#behind ?? performance.now();
  }

  #contact() {
    this.#heard = performance.now();
    this.#unreachable = false;
    this.#mirrors.works();
  }

  /** Asks what the relay knows; returns whether it answered. */
  #ask(signal) {
    this.#asking ??= this.#askNow(signal).finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #askNow(signal) {
    const asked = performance.now();
    this.#askedAt = asked;
    const lost = this.#unreachable;
    this.#mirrors.asks(asked);
    const answered = await this.#still("HEAD", signal);
    // It is there again, but what was open before may be dead without anybody having said so.
    if (lost && answered && this.#active < asked) this.#endWay?.();
    if (!answered && !signal.aborted && (this.#heard ?? 0) <= asked) {
      const now = performance.now();
      this.#unreachable = true;
      this.#mirrors.failed(now);
      this.#render(now);
    }
    return answered;
  }

  /** Asks another relay, and goes there if it has the camera and this one still says nothing. */
  async #tryElsewhere(index, signal) {
    const abort = new AbortController();
    const stop = () => abort.abort();
    const timer = setTimeout(stop, ANSWER_MS);
    signal.addEventListener("abort", stop);
    const sent = performance.now();
    let told = null;
    try {
      const options = { method: "HEAD", cache: "no-store", signal: abort.signal };
      told = this.#read((await fetch(this.#address("live.jpeg", index), options)).headers);
    } catch {
      // It does not answer either.
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    }
    const received = performance.now();
    if (signal.aborted) return;
    const good = Boolean(told?.frame);
    if (!this.#mirrors.answered(index, good, received, Math.random())) return;
    // That relay has a clock and pictures of its own.
    this.#clock.forget();
    this.#etag = null;
    this.#ladder.moved();
    // The page that it leads to has to be there, too.
    const link = this.#section.querySelector(".name a");
    if (link) link.href = this.#address("");
    this.restart();
    this.#sample(told, sent, received);
    this.#hear(told, this.#run.signal);
  }

  async #show(shown, signal) {
    const frame = { ...shown, relay: this.#mirrors.here };
    const mayFollow = () => follows(frame, this.#drawn, this.#clock.at(performance.now()));
    if (!mayFollow()) return;
    try {
      const picture = await decode(frame.jpeg);
      await nextAnimationFrame();
      if (signal.aborted || !mayFollow()) {
        picture.close?.();
        return;
      }
      paint(this.#canvas, picture);
    } catch {
      this.#damaged = true;
      return;
    }
    const now = performance.now();
    this.#damaged = false;
    this.#drawn = frame;
    this.#etag = frame.etag ?? null;
    this.#behind = null;
    this.#rate.drawn(now);
    this.#section.dataset.seq = frame.seq;
    this.#section.dispatchEvent(new CustomEvent("drawn", { detail: frame }));
    this.#render(now);
  }

  #age(now) {
    const relay = this.#clock.at(now);
    // A picture that nobody sees is as old as the camera's newest.
    const captured = this.#onScreen ? this.#drawn?.captured : this.#newest;
    return relay === null || captured == null ? null : Math.max(0, relay - captured);
  }

  #tick() {
    const now = performance.now();
    const wall = Date.now();
    const last = this.#last;
    this.#last = { now, wall };
    if (!this.#run) {
      this.#render(now);
      return;
    }
    const passed = now - last.now;
    if (passed > SLEPT_MS || wall - last.wall - passed > SLEPT_MS) {
      this.#clock.forget();
      this.restart();
      return;
    }
    const { signal } = this.#run;
    // A WebSocket tells when the state changes; the other ways bring pictures only.
    const told = this.#section.dataset.way === "websocket" ? this.#heard : this.#stateAt;
    const other = this.#mirrors.next(now, Math.random());
    if (other !== null) this.#tryElsewhere(other, signal);
    const silent = now - (told ?? this.#startedAt) > SILENCE_MS && !this.#unreachable;
    const patience = this.#drawn && this.#clock.at(now) === null ? BRIDGE_MS : CLOCK_MS;
    const waited = now - this.#askedAt;
    if (silent || waited > patience || (this.#unreachable && waited > AGAIN_MS)) this.#ask(signal);
    const stalled = this.#behind !== null
      && now - Math.max(this.#behind, this.#active) > STALLED_MS && !this.#damaged;
    if (stalled) {
      this.#behind = null;
      this.#endWay?.();
    } else if (this.#ladder.mayClimb(now)) {
      this.#ladder.climb();
      this.#endWay?.();
    }
    this.#render(now);
  }

  /** The smallest width that fills the picture's place; null for the picture's own. */
  #fittingWidth() {
    if (this.#tooManySizes) return null;
    const stage = this.#section.querySelector(".stage").getBoundingClientRect();
    const own = { width: Number(this.#section.dataset.width), height: Number(this.#section.dataset.height) };
    if (!stage.width || !stage.height) return this.#width;
    const scale = Math.min(stage.width / own.width, stage.height / own.height);
    const needed = own.width * scale * Math.min(devicePixelRatio, MAX_DENSITY);
    const width = WIDTHS.find((width) => width >= needed * 0.95);
    return width && width < own.width ? width : null;
  }

  #resized() {
    const width = this.#fittingWidth();
    if (width === this.#width) return;
    this.#width = width;
    this.#etag = null;
    this.#endWay?.();
  }

  #render(now) {
    const age = this.#age(now);
    const unchanged = this.#unchanged === null ? null : this.#unchanged + now - this.#stateAt;
    const { kind, lasts } = judge({
      past: this.#past && (this.#past.gap ? "gap" : "frame"),
      paused: this.#paused,
      unreachable: this.#unreachable,
      state: this.#state,
      age,
      unchanged,
      silence: this.#heard === null ? null : now - this.#heard,
      damaged: this.#damaged,
      // What is asked for so often only is so much older.
      staleMs: Number(this.#section.dataset.staleMs) + (this.#grid ? GRID_POLL_MS : 0),
    });
    const words = this.#wordsFor(kind, lasts, now);
    if (this.#words.textContent !== words) this.#words.textContent = words;
    this.#renderTime(now, age);
    if (kind === this.kind) return;
    this.kind = kind;
    this.#section.dataset.state = kind;
    const alt = fill(texts.picture, { name: this.title });
    this.#canvas.setAttribute("aria-label", `${alt}: ${words}`);
    // Said once, not with every second that it lasts.
    if (kind !== "connecting") this.#said.textContent = `${this.title}: ${words}`;
    this.onkind();
  }

  #wordsFor(kind, lasts, now) {
    if (kind === "live") {
      const fps = this.#grid ? null : this.#rate.at(now);
      const old = lasts >= 2_000 ? ` · ${fill(texts.old, { age: ageText(lasts) })}` : "";
      return texts.live + (fps >= 0.95 ? ` · ${fpsText(fps)}` : "") + old;
    }
    if (kind === "gap") {
      const { from, to } = this.#past.gap;
      const text = (time) => (time === null ? "…" : timeText(time, this.relayTime - time));
      return fill(texts.gap, { from: text(from), to: text(to) });
    }
    if (lasts === null) {
      if (kind === "unreachable") {
        return fill(texts.unreachable, { time: timeText(Date.now(), 0), age: ageText(now) });
      }
      return texts[kind].includes("{") ? texts.connecting : texts[kind];
    }
    // By the relay's clock, so that it does not matter what the viewer's shows.
    const since = (this.#clock.at(now) ?? Date.now()) - lasts;
    return fill(texts[kind], { time: timeText(since, lasts), age: ageText(lasts) });
  }

  #renderTime(now, age) {
    if (!this.#drawn) return;
    const text = timeText(this.#drawn.captured, age ?? 0, { second: "2-digit" });
    if (this.#time.textContent === text) return;
    this.#time.textContent = text;
    this.#time.dateTime = new Date(this.#drawn.captured).toISOString();
    this.#time.title = fill(texts.taken, { moment: momentText(this.#drawn.captured) });
  }
}
