// The page: its cameras, its buttons and keys, when it is seen.

const sections = [...document.querySelectorAll(".camera")];
const overview = document.body.classList.contains("overview");
const query = new URLSearchParams(location.search);
const cameras = sections.map(
  (section) => new Camera(section, { grid: overview, way: query.get("transport") }),
);

function updateShown() {
  for (const camera of cameras) camera.shown = document.visibilityState === "visible";
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

cameras.forEach(addControls);
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
