// The owner's page: everything that is known of the cameras, again and again.

/** Between two looks, in ms. */
const LOOK_MS = 2_000;

/** The sparkline's place, in its own units. */
const SPARK = { width: 240, height: 40 };

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function bytesText(bytes) {
  const unit = bytes < 1e6 ? ["kilobyte", 1e3] : ["megabyte", 1e6];
  const format = { style: "unit", unit: unit[0], maximumFractionDigits: 1 };
  return new Intl.NumberFormat(language, format).format(bytes / unit[1]);
}

const count = new Intl.NumberFormat(language);

function percentText(percent) {
  return new Intl.NumberFormat(language, { style: "percent" }).format(percent / 100);
}

/** Words and numbers of those that are not 0. */
function countsText(counts) {
  const some = Object.entries(counts).filter(([, n]) => n > 0);
  return some.map(([word, n]) => `${word} ${count.format(n)}`).join(", ") || texts.none;
}

function stateText({ state, age_ms: age, captured_at: captured }) {
  const since = { time: captured ? timeText(Date.parse(captured), age) : "", age: ageText(age ?? 0) };
  return fill(texts[state], since);
}

/** The picture's age in the last hour: a line that is high where it was old, open where unknown. */
function sparkline(ages) {
  const known = ages.filter((age) => age !== null);
  if (known.length === 0) return "–";
  const greatest = Math.max(...known, 1_000);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 -1 ${SPARK.width} ${SPARK.height + 2}`);
  svg.setAttribute("role", "img");
  const words = fill(texts.largest, { age: ageText(Math.max(...known)) });
  svg.setAttribute("aria-label", `${texts.last_hour}: ${words}`);
  const path = document.createElementNS(svg.namespaceURI, "path");
  const step = SPARK.width / (ages.length - 1);
  let line = "";
  ages.forEach((age, n) => {
    if (age === null) return;
    const y = SPARK.height * (1 - age / greatest);
    const begins = n === 0 || ages[n - 1] === null;
    // A step alone would be a point, which is not drawn.
    line += `${begins ? "M" : "L"}${(n * step).toFixed(1)} ${y.toFixed(1)}${begins ? "h.5" : ""}`;
  });
  path.setAttribute("d", line);
  svg.append(path);
  return element("span", { class: "sparkline" }, svg, ` ${words}`);
}

/** What the link carries, and what is made of pictures for it. */
function uplinkText({ uplink_rate: rate, quality, divisor }) {
  if (rate === undefined) return "";
  const parts = [`${bytesText(rate)}/s`];
  if (quality !== undefined) parts.push(fill(texts.at_quality, { quality }));
  if (divisor > 1) parts.push(fill(texts.part_of_width, { divisor }));
  return parts.join(", ");
}

/** What the camera's update is doing, how far it is and what for it waits. */
function updateText({ version, doing, percent, why }) {
  const parts = [fill(texts[`update_${doing}`], { version })];
  if (percent !== undefined) parts.push(percentText(percent));
  if (why) parts.push(why);
  return parts.join(", ");
}

/** Which updates it gets. */
function channelText({ channel, wish }) {
  const wished = { hold: texts.held, start: texts.starting }[wish];
  return [fill(texts.channel, { channel }), wished].filter(Boolean).join(", ");
}

/** Why the last one was not kept: what the camera says now, or said some time ago. */
function rejectedText({ version, why, ran }) {
  return fill(ran ? texts.took_back : texts.not_installed, { version, why });
}

function systemText({ system, slot }) {
  return [system, slot && fill(texts.slot, { slot })].filter(Boolean).join(", ");
}

function rows(camera, { history_ms: history, report, report_age_ms: reported, update }) {
  const size = camera.width && `${camera.width} × ${camera.height}`;
  const { accepted, older, refused } = camera.uploads;
  const told = report ?? {};
  const rejected = told.rejected ?? update.rejected;
  const yes = { true: texts.yes, false: texts.no };
  return [
    [texts.frame_rate, camera.fps !== null && camera.state === "live" && fpsText(camera.fps)],
    [texts.age, camera.age_ms !== null && ageText(camera.age_ms)],
    [texts.last_hour, sparkline(history)],
    [texts.size, size && `${size}, ${bytesText(camera.bytes)}`],
    [texts.uploads, count.format(accepted + older)],
    [texts.refused, countsText(refused)],
    [texts.viewers, countsText(camera.viewers)],
    [texts.agent, told.version],
    [texts.temperature, told.temperature_c !== undefined && unitText(told.temperature_c, "celsius")],
    [texts.wifi, told.wifi_dbm !== undefined && `${count.format(told.wifi_dbm)} dBm`],
    [texts.wifi_rate, told.wifi_mbps !== undefined && `${count.format(told.wifi_mbps)} Mbit/s`],
    [texts.uplink, uplinkText(told)],
    [texts.waiting, told.waiting ? count.format(told.waiting) : ""],
    [texts.camera, told.camera],
    [texts.undervoltage, yes[told.undervoltage]],
    [texts.throttled, yes[told.throttled]],
    [texts.machine_up, told.uptime_s !== undefined && ageText(told.uptime_s * 1000)],
    [texts.last_reboot, told.last_reboot],
    [texts.system, told.system && systemText(told)],
    [texts.updates, told.system && channelText(update)],
    [texts.update, told.update && updateText(told.update)],
    [texts.not_kept, rejected && rejectedText(rejected)],
    [texts.reported, reported !== null && fill(texts.ago, { age: ageText(reported) })],
  ];
}

function list(rows) {
  const known = rows.filter(([, value]) => value);
  return known.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
}

/** Sends what the owner decides of a camera's updates. */
async function decide(id, wish) {
  try {
    const response = await fetch(address(`status/cameras/${id}/update`), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ do: wish }),
    });
    if (!response.ok) throw new Error((await response.text()).trim());
    await look();
  } catch (error) {
    said.textContent = error.message;
  }
}

/** Sections by camera. They stay while what is in them changes: somebody may be about to press a button. */
const sections = new Map();

function section(id) {
  if (sections.has(id)) return sections.get(id);
  const button = (wish, text) => {
    const made = element("button", { type: "button", "data-do": wish }, text);
    made.addEventListener("click", () => decide(id, wish));
    return made;
  };
  const made = element(
    "section",
    { "data-camera": id },
    element("h2", {}, element("a", { href: `cameras/${id}/` })),
    element("p", { class: "badge" }),
    element("dl"),
    element(
      "p",
      { class: "decide" },
      button("start", texts.start_now), button("hold", texts.hold), button("release", texts.release),
    ),
  );
  sections.set(id, made);
  return made;
}

function showCamera(camera, owner) {
  const shown = section(camera.camera);
  shown.dataset.state = camera.state;
  shown.querySelector("a").textContent = owner.title ?? camera.camera;
  shown.querySelector(".badge").replaceChildren(element("span", { class: "dot" }), stateText(camera));
  shown.querySelector("dl").replaceChildren(...list(rows(camera, owner)));
  const { wish, rejected } = owner.update;
  // Where nothing can be updated, nothing is to be decided.
  shown.querySelector(".decide").hidden = !(owner.report?.system || wish || rejected);
  for (const button of shown.querySelectorAll("button")) {
    if (button.dataset.do === "release") button.disabled = !wish;
    else button.setAttribute("aria-pressed", button.dataset.do === wish);
  }
  return shown;
}

/** What is published, newest first. */
function published({ problem, published }) {
  const words = ({ channel, percent, paused }) => {
    const share = fill(texts.share, { percent: percentText(percent), channel });
    return paused ? `${share}; ${fill(texts.stopped, { why: paused })}` : share;
  };
  const rows = published.toReversed().map((update) => [
    `${update.version} (${update.compatible}, ${bytesText(update.bytes)})`, words(update),
  ]);
  if (problem) rows.unshift([texts.updates, problem]);
  return rows;
}

function show(data) {
  const problem = data.persistence_problem ?? data.persistence;
  const since = Date.parse(data.written_at) - data.uptime_ms;
  document.querySelector(".relay").replaceChildren(...list([
    [texts.version, data.version],
    [texts.up_since, `${timeText(since, data.uptime_ms)} (${ageText(data.uptime_ms)})`],
    [texts.connections, count.format(data.connections)],
    [texts.persistence, problem],
    [texts.refused, countsText(data.refused)],
  ]));
  const updates = published(data.updates);
  document.querySelector(".updates").hidden = updates.length === 0;
  document.querySelector(".updates dl").replaceChildren(...list(updates));
  const cameras = document.querySelector(".cameras");
  const shown = data.cameras.map((camera, n) => showCamera(camera, data.owner[n]));
  // Cameras are added and never removed while the relay runs; one that is moved would lose the focus.
  if (cameras.children.length !== shown.length) cameras.replaceChildren(...shown);
}

const said = document.querySelector(".said");
let heard = performance.now();

async function look() {
  try {
    const response = await fetch(address("status/cameras.json"), { cache: "no-store" });
    if (!response.ok) throw new Error(await response.text());
    show(await response.json());
    heard = performance.now();
    said.textContent = "";
    document.body.removeAttribute("data-unreachable");
  } catch {
    const lasts = performance.now() - heard;
    const since = { time: timeText(Date.now() - lasts, lasts), age: ageText(lasts) };
    said.textContent = fill(texts.unreachable, since);
    document.body.setAttribute("data-unreachable", "");
  }
}

async function keepLooking() {
  for (;;) {
    if (document.visibilityState === "visible") await look();
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

keepLooking();
