// <script src="https://RELAY/embed.js" data-camera="ID" async></script>: the viewer, where the
// script stands. Where the relay does not let this site show it (embed.origins), plain pictures are
// shown instead, never one older than a minute.

const script = document.currentScript;
const base = new URL("./", script.src);
const id = script.dataset.camera ?? "default";
const title = script.dataset.title ?? id;
const page = new URL(`cameras/${encodeURIComponent(id)}/`, base);

/** The viewer says at once that it is there. */
const ANSWER_MS = 8_000;

/** Between two plain pictures. */
const STILL_MS = 5_000;

const frame = document.createElement("iframe");
// Of a private camera.
const { key } = script.dataset;
const and = key ? `&key=${encodeURIComponent(key)}` : "";
frame.src = `${page}?embedded${and}`;
frame.title = title;
frame.allow = "fullscreen";
frame.style.cssText = "border:0;display:block;width:100%;max-height:100vh";
frame.style.aspectRatio = script.dataset.ratio ?? "4/3";

function showStills() {
  const link = document.createElement("a");
  link.href = key ? `${page}?key=${encodeURIComponent(key)}` : page;
  const image = document.createElement("img");
  image.alt = title;
  image.style.cssText = "display:block;width:100%";
  link.append(image);
  frame.replaceWith(link);
  // An old picture gets no answer, and then its title stands there.
  const next = () => {
    image.src = new URL(`live.jpeg?max_age=60${and}&${Date.now()}`, page);
  };
  next();
  setInterval(() => document.visibilityState === "visible" && next(), STILL_MS);
}

const timer = setTimeout(showStills, ANSWER_MS);
addEventListener("message", (event) => {
  if (event.source === frame.contentWindow && event.data === "stillwatch") clearTimeout(timer);
});
script.after(frame);
