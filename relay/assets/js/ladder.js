// Which way frames come, and when to try again. Pure: it is told the time and a random number.
//
// A way that never brought anything although the relay answers is blocked by something in between:
// then the next one is taken, and from time to time the best one tried again. A way that worked and
// broke, or a relay that does not answer at all, is no reason to change the way.

const WAYS = ["websocket", "mjpeg", "poll"];

/** The first wait before trying again, and the longest, in ms. */
const WAIT_MS = [200, 5_000];

/** The first wait before trying a better way, and the longest, in ms. */
const CLIMB_MS = [60_000, 600_000];

class Ladder {
  #ways;
  #step = 0;
  #failures = 0;
  #climb = CLIMB_MS[0];
  #climbAt = Infinity;

  /** `forced`: the only way that may be used, or null. */
  constructor(forced) {
    this.#ways = WAYS.includes(forced) ? [forced] : WAYS;
  }

  get way() {
    return this.#ways[this.#step];
  }

  /** A frame came this way. */
  worked() {
    this.#failures = 0;
    if (this.#step === 0) this.#climb = CLIMB_MS[0];
  }

  /** Whether it is time to leave a way that works for a better one. */
  mayClimb(now) {
    return now >= this.#climbAt;
  }

  /** At another relay nothing has failed yet. What blocks a way is most often on the viewer's side. */
  moved() {
    this.#failures = 0;
  }

  climb() {
    this.#step = 0;
    this.#climbAt = Infinity;
  }

  /**
   * The way ended.
   * @param alive something came this way
   * @param reachable the relay answers otherwise
   * @returns how long to wait before the next attempt, in ms
   */
  ended({ now, alive, reachable, random }) {
    if (!alive && reachable && this.#step < this.#ways.length - 1) {
      this.#step += 1;
      this.#climbAt = now + this.#climb;
      this.#climb = Math.min(this.#climb * 2, CLIMB_MS[1]);
      this.#failures = 0;
      return 0;
    }
    const [first, longest] = WAIT_MS;
    const wait = Math.min(first * 2 ** this.#failures, longest);
    this.#failures = Math.min(this.#failures + 1, 10);
    // Not all viewers of a relay that restarts at the same moment.
    return wait * (0.5 + random / 2);
  }
}
