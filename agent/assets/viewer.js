// The local viewer's page: asks for the newest picture again and again, draws it, and says how old it
// is. What the badge says is badge.js' decision. The camera's and the phone's clocks need not agree:
// the camera tells an age, and from then on it is counted here.

/** Two pictures a second are enough to aim by, and cost a Pi Zero little. */
const EVERY_MS = 500;

/** A camera that has more to do answers late; one that takes longer is asked anew. */
const PATIENCE_MS = 5000;

/** Nobody reads the status as fast as it changes. */
const STATUS_EVERY_MS = 3000;

const WORDS = {
  connecting: () => "Connecting …",
  live: () => "Live",
  late: (s) => `This picture is ${s} old`,
  stale: (s) => `No new picture for ${s}`,
  frozen: (s) => `Frozen: the same picture for ${s}`,
  empty: () => "No picture yet",
  unreadable: () => "The picture is damaged",
  unreachable: (s) => `The camera does not answer for ${s}`,
};

const camera = document.querySelector(".camera");
const canvas = camera.querySelector("canvas");
const words = camera.querySelector(".words");
const why = camera.querySelector(".why");
const said = camera.querySelector(".said");
const status = document.querySelector(".status");

let answered = performance.now();
let failures = 0;
let state = null;
let drawn = null;
let unchanged = null;
let damaged = false;

const number = (response, name) => {
  const text = response.headers.get(name);
  return text === null ? null : Number(text);
};

async function look() {
  const sent = performance.now();
  let response;
  try {
    response = await fetch("live.jpeg", { cache: "no-cache", signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    failures += 1;
    return;
  }
  const told = response.headers.get("frame-state");
  if (told === null) {
    failures += 1;
    return;
  }
  // The picture may be older by as long as the answer took.
  const taken = sent - (number(response, "frame-age-ms") ?? 0);
  unchanged = number(response, "frame-unchanged-ms");
  if (response.ok) {
    const etag = response.headers.get("etag");
    try {
      const blob = await response.blob();
      if (etag !== drawn?.etag) await draw(blob);
      drawn = { etag, taken };
      damaged = false;
    } catch {
      damaged = true;
    }
    why.textContent = "";
  } else {
    why.textContent = await response.text().catch(() => "");
    if (drawn && told === "stale") drawn.taken = Math.min(drawn.taken, taken);
  }
  state = told;
  failures = 0;
  answered = performance.now();
}

async function draw(blob) {
  const picture = await createImageBitmap(blob);
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
  }
  canvas.getContext("2d", { alpha: false }).drawImage(picture, 0, 0);
  picture.close();
}

function duration(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  return s < 120 ? `${s} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

function tell() {
  const now = performance.now();
  const silence = now - answered;
  const { kind, lasts } = judge({
    paused: false,
    unreachable: failures > 1 || silence > 2 * PATIENCE_MS,
    state,
    age: drawn && now - drawn.taken,
    unchanged,
    silence,
    damaged,
    staleMs: Number(camera.dataset.staleMs),
  });
  const text = WORDS[kind](duration(lasts ?? 0));
  if (words.textContent !== text) words.textContent = text;
  if (camera.dataset.state !== kind) {
    camera.dataset.state = kind;
    said.textContent = text;
  }
  why.hidden = why.textContent === "" || kind === "live";
}

async function every(ms, turn) {
  for (;;) {
    const next = performance.now() + ms;
    // A page that nobody sees costs the camera nothing.
    if (!document.hidden) await turn();
    tell();
    await new Promise((done) => setTimeout(done, Math.max(50, next - performance.now())));
  }
}

document.addEventListener("visibilitychange", () => {
  // What was drawn before is as old as it is; the camera has not been asked meanwhile.
  answered = performance.now();
  failures = 0;
  if (!document.hidden) state = null;
  tell();
});

every(EVERY_MS, look);
every(STATUS_EVERY_MS, async () => {
  try {
    const response = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    status.textContent = await response.text();
  } catch {
    status.textContent = "";
  }
});
