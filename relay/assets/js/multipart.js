// Takes a multipart/x-mixed-replace stream apart. Pure: bytes in, parts out.

/** More than what stands before a part's body ever has, in bytes. */
const MAX_HEAD = 4096;

/** More than the relay takes from a camera, unless relay.max_frame_bytes is set higher: 64 MiB. */
const MAX_BODY = 64 << 20;

class Multipart {
  /** What has come of the next part's head. */
  #begun = new Uint8Array(0);
  /** The part whose body is arriving, and how much of it is there. */
  #part = null;
  #filled = 0;

  /**
   * Takes the next bytes of the stream.
   * @returns the parts complete by now: `head` (a Map, names in lower case) and `body`
   * @throws if it is no such stream, or a part does not say how long it is
   */
  push(chunk) {
    const parts = [];
    let rest = chunk;
    while (rest.length > 0) {
      rest = this.#part ? this.#fill(rest) : this.#begin(rest);
      if (this.#part && this.#filled === this.#part.body.length) {
        parts.push(this.#part);
        this.#part = null;
      }
    }
    return parts;
  }

  #fill(bytes) {
    const wanted = bytes.subarray(0, this.#part.body.length - this.#filled);
    this.#part.body.set(wanted, this.#filled);
    this.#filled += wanted.length;
    return bytes.subarray(wanted.length);
  }

  #begin(bytes) {
    const begun = new Uint8Array(this.#begun.length + bytes.length);
    begun.set(this.#begun);
    begun.set(bytes, this.#begun.length);
    const text = new TextDecoder("latin1").decode(begun.subarray(0, MAX_HEAD));
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) {
      if (begun.length >= MAX_HEAD) throw new Error("a part without an end of its head");
      this.#begun = begun;
      return new Uint8Array(0);
    }
    const lines = text.slice(0, end).split("\r\n").filter((line) => line.includes(": "));
    const head = new Map(lines.map((line) => {
      const colon = line.indexOf(": ");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 2)];
    }));
    const length = Number(head.get("content-length") ?? NaN);
    if (!(length > 0 && length <= MAX_BODY)) throw new Error("a part without a good length");
    this.#part = { head, body: new Uint8Array(length) };
    this.#filled = 0;
    this.#begun = new Uint8Array(0);
    return begun.subarray(end + 4);
  }
}
