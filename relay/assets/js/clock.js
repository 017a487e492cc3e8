// The relay's clock, as seen from here. Pure: it is told the time.
//
// How old a picture is must not depend on the viewer's wall clock, which may be wrong by hours. So
// the relay says with its answers what time it is; from when it was asked and when it answered
// follows how far its clock is from the browser's monotonic one, and how wrong that can be.

/** Two clocks may drift apart by so much: the worst quartz of a cheap computer, 100 ppm. */
const DRIFT = 1e-4;

/** The relay's clock has milliseconds. */
const RESOLUTION_MS = 1;

class RelayClock {
  #best = null;

  /**
   * The relay's clock showed `relay` (ms since the epoch) somewhen between `sent` and `received` (ms
   * of the local monotonic clock); or up to `spread` ms more than `relay`, where a cache says in whole seconds how
   * long ago it heard so.
   */
  sample(relay, sent, received, spread = 0) {
    const error = (received - sent + spread) / 2 + RESOLUTION_MS;
    const offset = relay + spread / 2 - (sent + received) / 2;
    if (this.#best) {
      const grown = this.#best.error + DRIFT * (received - this.#best.at);
      // If they can't both be right, a clock was set: then the newer one is.
      const agree = Math.abs(offset - this.#best.offset) <= error + grown;
      if (agree && error >= grown) return;
    }
    this.#best = { offset, error, at: received };
  }

  /** The computer may have slept: its monotonic clock perhaps stood still meanwhile. */
  forget() {
    this.#best = null;
  }

  /** The relay's time at the local time `local`, in ms since the epoch; null if not known. */
  at(local) {
    return this.#best === null ? null : local + this.#best.offset;
  }
}
