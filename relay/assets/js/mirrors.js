// Which relay is asked, where several show the same cameras: when it is given up, which is next, and
// which picture may follow which. Pure: it is told the time and random numbers.
//
// A relay is left for another one only if that one answers. A viewer whose own network is gone stays
// where it is, and so does one whose slow link holds up every answer. Where it works it stays: a relay
// that comes back gets its viewers back when another one goes, or when their pages are loaded again.

/** A relay that refused two questions is given up so long after the first of them, in ms. */
const REFUSED_MS = 1_200;

/** One that answers nothing at all, and sends nothing, so long after it was asked, in ms. */
const SILENT_MS = 5_000;

/** The viewers of a dead relay spread over so much more time, in ms. */
const SPREAD_MS = 1_000;

/** When another one has not answered for so long, the next is asked as well, in ms. */
const NEXT_MS = 2_000;

/** Between two rounds without an answer, at first and at most, in ms. */
const ROUND_MS = [1_000, 10_000];

/** Who moves again within so long of the last time, in ms, waits twice as long before the next; so many times. */
const RAPID_MS = 60_000;
const MOST_RAPID = 4;

/** A relay believes no capture time that is farther ahead of its clock, in ms. */
const AHEAD_MS = 5_000;

class Mirrors {
  #count;
  #here = 0;
  #spread;
  /** When it was asked what it has not answered yet; null if it answers. */
  #doubt = null;
  #failures = 0;
  /** Those that were not asked yet in this round, and the one that was asked last. */
  #left = [];
  #asked = null;
  #askedAt = 0;
  #round = ROUND_MS[0];
  #roundAt = -Infinity;
  /** Moves that followed one another rapidly. */
  #rapid = 0;
  #movedAt = -Infinity;

  /** `count` relays; the page came from the first of them. */
  constructor(count, random) {
    this.#count = count;
    this.#spread = random;
  }

  /** Which relay is the one to ask. */
  get here() {
    return this.#here;
  }

  /** It is asked something. */
  asks(now) {
    this.#doubt ??= now;
  }

  /** Something came from it; or all begins anew, and nothing counts that was before. */
  works() {
    this.#doubt = null;
    this.#failures = 0;
    this.#left = [];
    this.#asked = null;
    this.#round = ROUND_MS[0];
    this.#roundAt = -Infinity;
  }

  /** What it was asked came to nothing. */
  failed(now) {
    this.#doubt ??= now;
    this.#failures += 1;
  }

  /** Whether this relay went soon after the last one. */
  #isRapid() {
    return this.#doubt - this.#movedAt < RAPID_MS;
  }

  #isGivenUp(now) {
    if (this.#doubt === null) return false;
    const slower = 2 ** (this.#isRapid() ? this.#rapid : 0);
    const patience = slower * (this.#failures < 2 ? SILENT_MS : REFUSED_MS);
    return now - this.#doubt >= patience + this.#spread * SPREAD_MS;
  }

  /** Which other relay is to be asked now whether it has the camera; null for none. */
  next(now, random) {
    if (this.#count < 2 || !this.#isGivenUp(now)) return null;
    if (this.#asked !== null && now - this.#askedAt < NEXT_MS) return null;
    if (this.#left.length === 0) {
      if (now < this.#roundAt) return null;
      // Not all viewers of one relay go to the same other one.
      const first = Math.floor(random * (this.#count - 1));
      for (let n = 0; n < this.#count - 1; n++) {
        this.#left.push((this.#here + 1 + ((first + n) % (this.#count - 1))) % this.#count);
      }
      // It counts when the round is through.
      this.#roundAt = now + this.#round * (0.5 + random / 2);
      this.#round = Math.min(this.#round * 2, ROUND_MS[1]);
    }
    this.#asked = this.#left.shift();
    this.#askedAt = now;
    return this.#asked;
  }

  /**
   * Another relay was asked.
   * @param good it has pictures of the camera
   * @param random for the next time
   * @returns whether it is the one to ask from now on
   */
  answered(index, good, now, random) {
    if (index === this.#asked) this.#asked = null;
    if (!good || index === this.#here || !this.#isGivenUp(now)) return false;
    this.#rapid = this.#isRapid() ? Math.min(this.#rapid + 1, MOST_RAPID) : 0;
    this.#movedAt = now;
    this.#here = index;
    this.#spread = random;
    this.works();
    return true;
  }
}

/** Where a camera is at the other relays: `listed` are their addresses, with spaces between; `root` is this one's. */
function elsewhere(id, listed, root) {
  const roots = listed.split(" ").filter((url) => url !== "" && url !== root);
  return roots.map((url) => `${url}cameras/${id}/`);
}

/**
 * Whether a frame may be drawn after the one that is drawn. Of one relay it may: the relay knows which
 * is newer. Another one may be behind.
 * @param frame captured, seq, and the relay that it is of
 * @param drawn the same, or null
 * @param relayTime what time it is by the clock of the frame's relay, or null
 */
function follows(frame, drawn, relayTime) {
  if (drawn === null || drawn.relay === frame.relay) return true;
  // By this relay's clock it is not taken yet: the two go by different clocks, and times say nothing.
  if (relayTime !== null && drawn.captured > relayTime + AHEAD_MS) return true;
  if (frame.captured !== drawn.captured) return frame.captured > drawn.captured;
  return BigInt(frame.seq ?? 0) > BigInt(drawn.seq ?? 0);
}
