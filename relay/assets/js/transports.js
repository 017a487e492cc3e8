// The ways on which frames come. Each takes a place and callbacks, and returns how to end it:
//
//   on.frame({captured, seq, jpeg})   a picture: when it was captured, ms since the epoch. The way
//                                     brings no more before the promise it gets is done.
//   on.state({state, unchanged})      what the relay says of the camera
//   on.alive()                        something came, if only a part of a picture
//   on.end()                          it is over

/** After `{"ready":…}`, frames in `stillwatch.v1`: 24 bytes, then the JPEG. */
const HEAD_BYTES = 24;

function openWebSocket(place, on) {
  const url = place.stream("live.ws");
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url, "stillwatch.v1");
  socket.binaryType = "arraybuffer";
  let frames = Promise.resolve();
  socket.onmessage = ({ data }) => {
    on.alive();
    if (typeof data === "string") {
      const told = JSON.parse(data);
      if (told.state) on.state({ state: told.state, unchanged: told.unchanged_ms ?? null });
      return;
    }
    const head = new DataView(data, 0, HEAD_BYTES);
    const captured = Number(head.getBigInt64(0)) / 1000;
    // As text: a number of 64 bits does not fit into one of JavaScript's.
    const seq = head.getBigUint64(8).toString();
    const jpeg = new Blob([new Uint8Array(data, HEAD_BYTES)], { type: "image/jpeg" });
    frames = frames.then(async () => {
      await on.frame({ captured, seq, jpeg });
      if (socket.readyState === WebSocket.OPEN) socket.send(`{"ready":${seq}}`);
    });
  };
  socket.onclose = () => on.end();
  return () => {
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
    on.end();
  };
}

function openMjpeg(place, on) {
  const abort = new AbortController();
  const read = async () => {
    const response = await fetch(place.stream("live.mjpeg"), {
      // Says that a script takes it apart: every part then tells when it was captured.
      headers: { Accept: "multipart/x-mixed-replace" },
      cache: "no-store",
      signal: abort.signal,
    });
    if (!response.ok) return;
    const parts = new Multipart();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      on.alive();
      // Of several that came together the newest will do.
      const part = parts.push(value).at(-1);
      if (!part) continue;
      const captured = Date.parse(part.head.get("frame-captured-at"));
      const jpeg = new Blob([part.body], { type: "image/jpeg" });
      await on.frame({ captured, seq: part.head.get("frame-seq"), jpeg });
    }
  };
  // However it ends, it is tried again.
  read().catch(() => {}).finally(() => on.end());
  return () => abort.abort();
}

/** Between two questions for a newer picture, in ms: of the one camera on a page, of each of many. */
const POLL_MS = 400;
const GRID_POLL_MS = 3_000;

function openPoll(place, on) {
  const abort = new AbortController();
  const ask = async () => {
    while (!abort.signal.aborted) {
      const answered = await place.still("GET", abort.signal);
      if (!answered) return;
      on.alive();
      await pause(place.pollMs, abort.signal);
    }
  };
  ask().finally(() => on.end());
  return () => abort.abort();
}

const OPEN = { websocket: openWebSocket, mjpeg: openMjpeg, poll: openPoll };

/** Waits; ends at once when `signal` is aborted. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
