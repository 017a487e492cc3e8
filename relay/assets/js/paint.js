// From a JPEG to pixels on the screen.

/** Decodes a JPEG; whoever gets it closes it. Fails if the browser can't. */
async function decode(jpeg) {
  if (typeof createImageBitmap === "function") return createImageBitmap(jpeg);
  const image = new Image();
  const url = URL.createObjectURL(jpeg);
  try {
    image.src = url;
    await image.decode();
  } finally {
    URL.revokeObjectURL(url);
  }
  return image;
}

/** A window that is covered by others gets no animation frames; then it is drawn without one. */
const NO_FRAME_MS = 200;

function nextAnimationFrame() {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, NO_FRAME_MS);
    requestAnimationFrame(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Draws a decoded picture, and closes it. */
function paint(canvas, picture) {
  const width = picture.naturalWidth ?? picture.width;
  const height = picture.naturalHeight ?? picture.height;
  // Setting them clears the canvas, so only if they differ.
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  canvas.getContext("2d", { alpha: false }).drawImage(picture, 0, 0);
  picture.close?.();
}
