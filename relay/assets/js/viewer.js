// The page: its cameras, its buttons and keys, when it is seen.

const sections = [...document.querySelectorAll(".camera")];
const overview = document.body.classList.contains("overview");
const query = new URLSearchParams(location.search);
const cameras = sections.map(
  (section) => new Camera(section, { grid: overview, way: query.get("transport") }),
);

function updateShown() {
  const shown = document.visibilityState === "visible" && !leaving;
  for (const camera of cameras) camera.shown = shown;
}

function restartAll() {
  for (const camera of cameras) camera.restart();
}

function save(camera) {
  const { picture } = camera;
  if (!picture) return;
  const link = document.createElement("a");
  const url = URL.createObjectURL(picture.jpeg);
  const moment = new Date(picture.captured).toISOString().replaceAll(":", "-");
  link.href = url;
  link.download = `${camera.section.dataset.camera}-${moment}.jpeg`;
  link.click();
  // The browser has taken it by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function toggleFullScreen(camera) {
  const leaving = document.fullscreenElement;
  // Refused when the frame that holds the page does not allow it.
  (leaving ? document.exitFullscreen() : camera.section.requestFullscreen()).catch(() => {});
}

function addControls(camera) {
  const group = camera.section.querySelector(".controls");
  if (!group) return;
  const [pauseButton, saveButton, fullScreenButton] = group.querySelectorAll("button");
  const togglePause = () => {
    camera.paused = !camera.paused;
    pauseButton.textContent = camera.paused ? texts.resume : texts.pause;
  };
  pauseButton.addEventListener("click", togglePause);
  saveButton.addEventListener("click", () => save(camera));
  camera.section.addEventListener("drawn", () => {
    saveButton.disabled = false;
  }, { once: true });
  fullScreenButton.addEventListener("click", () => toggleFullScreen(camera));
  fullScreenButton.hidden = !document.fullscreenEnabled;
  group.hidden = false;
  const keys = {
    p: togglePause,
    s: () => save(camera),
    f: () => toggleFullScreen(camera),
  };
  // Only while it has the focus: somebody may speak instead of typing (WCAG 2.1.4).
  camera.section.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    keys[event.key.toLowerCase()]?.();
  });
}

/** How often the slider's end moves on, in ms. */
const SLIDER_MS = 1_000;

function addSlider(camera) {
  const part = camera.section.querySelector(".past");
  if (!part) return;
  const [slider, toLive] = [part.querySelector("input"), part.querySelector("button")];
  const past = new Past(camera.section.dataset.base);
  let chosen = null;
  const refresh = async () => {
    if (document.visibilityState !== "visible") return;
    await past.update(performance.now());
    if (past.times.length === 0) return;
    const [start, end] = [past.times[0], Math.max(camera.relayTime, past.times.at(-1))];
    slider.min = start;
    slider.max = end;
    slider.step = 1;
    slider.value = chosen ?? end;
    const parts = covered(past.times, past.interval, start, end).flatMap(([from, to]) => {
      const [a, b] = [from, to].map((part) => `${(part * 100).toFixed(3)}%`);
      return [`transparent ${a}`, `currentColor ${a}`, `currentColor ${b}`, `transparent ${b}`];
    });
    slider.style.setProperty("--covered", `linear-gradient(to right, ${parts.join(", ")})`);
    slider.setAttribute("aria-valuetext", chosen === null ? texts.live : momentText(chosen));
    part.hidden = false;
  };
  const live = () => {
    chosen = null;
    toLive.disabled = true;
    camera.leavePast();
    refresh();
  };
  // While one is on its way, only the last moment that was chosen waits.
  let [busy, waiting] = [false, null];
  const show = async (moment) => {
    waiting = moment;
    if (busy) return;
    busy = true;
    while (waiting !== null) {
      const { index, gap } = seenAt(past.times, past.interval, waiting);
      waiting = null;
      const frame = gap ? { gap } : { gap, url: past.address(index), captured: past.times[index] };
      const there = await camera.showPast(frame);
      if (!there && chosen !== null) await camera.showPast({ gap: { from: null, to: null } });
      if (chosen === null) camera.leavePast();
    }
    busy = false;
  };
  slider.addEventListener("input", () => {
    // The end is the present.
    if (slider.value === slider.max) {
      live();
      return;
    }
    chosen = Number(slider.value);
    toLive.disabled = false;
    slider.setAttribute("aria-valuetext", momentText(chosen));
    show(chosen);
  });
  slider.addEventListener("keydown", (event) => {
    // A millisecond is no step for a key.
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -30, PageUp: 30 };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    slider.value = Number(slider.value) + step * past.interval;
    slider.dispatchEvent(new Event("input"));
  });
  toLive.addEventListener("click", live);
  toLive.disabled = true;
  camera.section.addEventListener("drawn", refresh, { once: true });
  setInterval(refresh, SLIDER_MS);
}

/** A page that is younger is not loaded again, in ms: whatever it is that refuses, once a while will do. */
const RELOAD_MS = 5_000;

let leaving = false;

/** A link has run out, or a password was changed: the page says so, or asks anew. Until then it asks for nothing. */
function denied() {
  if (leaving) return;
  leaving = true;
  updateShown();
  setTimeout(() => location.reload(), Math.max(0, RELOAD_MS - performance.now()));
}

/** Whoever looks wants to know first what is wrong. */
function sortByProblem() {
  const main = document.querySelector("main");
  // Not under somebody's finger.
  if (main.contains(document.activeElement)) return;
  const fine = ["live", "connecting", "late"];
  const rank = (camera) => (fine.includes(camera.kind) ? 1 : 0);
  const order = [...cameras].sort(
    (a, b) => rank(a) - rank(b) || a.title.localeCompare(b.title, language),
  );
  const present = [...main.querySelectorAll(".camera")];
  if (order.every((camera, n) => camera.section === present[n])) return;
  main.prepend(...order.map((camera) => camera.section));
}

/** How often the overview looks for new cameras, in ms. */
const NEW_CAMERAS_MS = 30_000;

/** A camera that is not on this page: the page is made anew. */
async function lookForNewCameras() {
  if (document.visibilityState !== "visible") return;
  try {
    const status = await (await fetch(address("status.json"), { cache: "no-store" })).json();
    const known = new Set(sections.map((section) => section.dataset.camera));
    const isNew = ({ camera, seq }) => seq !== null && !known.has(camera);
    if (status.cameras.some(isNew)) location.reload();
  } catch {
    // The cameras' badges say that the relay does not answer.
  }
}

for (const camera of cameras) camera.ondenied = denied;
cameras.forEach(addControls);
cameras.forEach(addSlider);
if (overview) {
  for (const camera of cameras) camera.onkind = sortByProblem;
  setInterval(lookForNewCameras, NEW_CAMERAS_MS);
}
document.addEventListener("visibilitychange", updateShown);
// Out of the browser's cache of pages gone back to.
addEventListener("pageshow", ({ persisted }) => persisted && restartAll());
addEventListener("online", restartAll);
updateShown();
// For the page that holds this one in a frame: it is not blocked.
if (parent !== window) parent.postMessage("stillwatch", "*");
