// What the badge says. Pure: from what is known, and when. The rule above all others: nothing is
// called live but a picture that was drawn, captured lately by the relay's clock, from a camera that
// the relay calls live, over a connection that works.

/**
 * @param facts
 *   past: the viewer looks at the past: "frame", or "gap" where there is none; else null
 *   paused: the viewer stopped the picture
 *   unreachable: the relay was asked and did not answer
 *   state: what the relay said last of the camera; null as long as it said nothing
 *   age: of the picture that was drawn last, in ms by the relay's clock; null if there is none
 *   unchanged: for how long the relay has got the same picture again and again, in ms, or null
 *   silence: ms since the relay said anything
 *   damaged: the newest picture could not be drawn
 *   staleMs: age from which a picture is not live
 * @returns kind, and for how long that has been so, in ms; null where that is not known
 */
function judge(facts) {
  const { past = null, paused, unreachable, state, age, unchanged, silence, damaged, staleMs } = facts;
  if (past !== null) return { kind: past === "gap" ? "gap" : "recorded", lasts: age };
  if (paused) return { kind: "paused", lasts: age };
  if (unreachable) return { kind: "unreachable", lasts: silence };
  if (state === null) return { kind: "connecting", lasts: null };
  if (state === "empty") return { kind: "empty", lasts: null };
  if (state === "frozen") return { kind: "frozen", lasts: unchanged ?? age };
  if (state !== "live") return { kind: state, lasts: age };
  if (damaged) return { kind: "unreadable", lasts: age };
  if (age === null) return { kind: "connecting", lasts: null };
  if (age > staleMs) return { kind: "late", lasts: age };
  return { kind: "live", lasts: age };
}

/** Frames a second, from when the last ones were drawn. Pure. */
class FrameRate {
  /** Over so many ms. */
  static WINDOW = 10_000;
  /** Several that came together after a pause are no rate. */
  static SHORTEST = 2_000;
  #times = [];

  drawn(now) {
    this.#times.push(now);
    while (this.#times[0] < now - FrameRate.WINDOW) this.#times.shift();
  }

  /** Null as long as there are too few to say. */
  at(now) {
    const times = this.#times.filter((time) => time >= now - FrameRate.WINDOW);
    const span = times.length < 3 ? 0 : times.at(-1) - times[0];
    return span < FrameRate.SHORTEST ? null : ((times.length - 1) * 1000) / span;
  }

  forget() {
    this.#times = [];
  }
}
