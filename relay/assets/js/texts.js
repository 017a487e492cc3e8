// Texts, times and ages in the viewer's language and time zone.

const texts = JSON.parse(document.getElementById("texts").textContent);

/** The viewer's own variant (en-GB, de-CH) of the page's language, for times and numbers. */
const language = navigator.languages.find((tag) => tag.split("-")[0] === texts.tag) ?? texts.tag;

/** Fills `{name}` in a text. */
function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

function unitText(value, unit) {
  const format = { style: "unit", unit, unitDisplay: "short" };
  return new Intl.NumberFormat(language, format).format(value);
}

/** How long something lasts, from ms, in its largest unit. */
function ageText(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return unitText(seconds, "second");
  if (seconds < 3600) return unitText(Math.floor(seconds / 60), "minute");
  if (seconds < 86400) return unitText(Math.floor(seconds / 3600), "hour");
  return unitText(Math.floor(seconds / 86400), "day");
}

/** More than so many ms ago, the time of day alone could be taken for today's. */
const SAME_DAY_MS = 20 * 3600 * 1000;

/** When something was, from ms since the epoch, `age` ms ago; `more` to show of it. */
function timeText(unixMs, age, more = {}) {
  const day = age < SAME_DAY_MS ? {} : { day: "numeric", month: "short", year: "numeric" };
  const format = { ...day, hour: "2-digit", minute: "2-digit", ...more };
  return new Intl.DateTimeFormat(language, format).format(unixMs);
}

/** The exact moment, with its time zone. */
function momentText(unixMs) {
  const format = {
    weekday: "short", day: "numeric", month: "long", year: "numeric", hour: "2-digit",
    minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, timeZoneName: "short",
  };
  return new Intl.DateTimeFormat(language, format).format(unixMs);
}

/** Pictures in a second, from ten on without decimals. */
function fpsText(fps) {
  const format = { maximumFractionDigits: fps < 9.95 ? 1 : 0 };
  return fill(texts.fps, { n: new Intl.NumberFormat(language, format).format(fps) });
}
