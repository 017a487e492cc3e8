// The history: which frame belongs to a moment, and where there is none. Pure, but for `Past`, which
// asks the relay for the list.

/** Entries of an answer at most; a day in steps of 10 s has 8640. */
const LIST_LIMIT = 10_000;

/** How often the list is continued, in ms. */
const CONTINUE_MS = 30_000;

/** How many frames have a time up to `moment`; `times` are in order. */
function countUpTo(times, moment) {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= moment) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * What there is to see of a moment.
 * @param times of the frames, in order, in ms
 * @param interval one frame is kept in so many ms
 * @returns index of the newest frame that was there by then, or null, and the gap that the moment is
 *   in, or null: from the frame before it to the one after it, null where there is none
 */
function seenAt(times, interval, moment) {
  const count = countUpTo(times, moment);
  const [before, after] = [times[count - 1] ?? null, times[count] ?? null];
  // A frame stands for the time up to the next, two intervals at most.
  const isGap = before === null || (moment - before > interval
    && (after ?? moment) - before > 2 * interval);
  return { index: count ? count - 1 : null, gap: isGap ? { from: before, to: after } : null };
}

/** Where there are frames, as parts of the way from `start` to `end`: pairs from 0 to 1. */
function covered(times, interval, start, end) {
  const at = (time) => Math.min(1, Math.max(0, (time - start) / Math.max(1, end - start)));
  const parts = [];
  let [from, last] = [null, null];
  for (const time of times) {
    if (last !== null && time - last > 2 * interval) {
      parts.push([at(from), at(last + interval)]);
      from = time;
    }
    from ??= time;
    last = time;
  }
  if (last !== null) parts.push([at(from), at(last + interval)]);
  return parts;
}

/** The list of one camera, kept up to date. */
class Past {
  #base;
  #names = [];
  #asked = null;
  times = [];
  interval = 0;

  constructor(base) {
    this.#base = base;
  }

  /** The name of a frame, as it stands in its address. */
  address(index) {
    return address(`${this.#base}history/${this.#names[index]}.jpeg`);
  }

  /** Asks for what is new, if it was not asked lately. */
  async update(now) {
    if (this.#asked !== null && now - this.#asked < CONTINUE_MS) return;
    this.#asked = now;
    const last = this.#names.at(-1);
    const query = `limit=${LIST_LIMIT}${last ? `&from=${last}` : ""}`;
    try {
      const response = await fetch(address(`${this.#base}history?${query}`));
      if (!response.ok) return;
      const { frames, interval_ms: interval } = await response.json();
      this.interval = interval;
      const names = frames.map((frame) => frame.captured_at).filter((name) => name !== last);
      this.#names.push(...names);
      this.times.push(...names.map((name) => Date.parse(name)));
      // What is older than a list can be was given up by now, or will be soon.
      const surplus = Math.max(0, this.times.length - LIST_LIMIT);
      this.#names.splice(0, surplus);
      this.times.splice(0, surplus);
    } catch {
      // The badge says that the relay does not answer.
    }
  }
}
