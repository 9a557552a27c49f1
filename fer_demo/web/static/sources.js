// Where pictures come from: the camera, a file, the server's pencil. Each is
// {element, width, height, moving, mirrored, close()}, the element being something that a canvas can draw.

const REFUSALS = {
  NotAllowedError: "The browser may not use the camera. Allow it beside the address, then try again.",
  NotFoundError: "No camera was found. Connect one, or open a photo or video.",
  NotReadableError: "The camera is in use by another program. End that one, then try again.",
};

/** Open the camera; `onLost` is called if it is taken away. */
export async function camera(onLost) {
  const wanted = { video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" } };
  if (!navigator.mediaDevices) throw new Error("This browser gives no page a camera.");
  const stream = await navigator.mediaDevices.getUserMedia(wanted).catch((error) => {
    throw new Error(REFUSALS[error.name] ?? `The camera cannot be opened (${error.message}).`);
  });
  const [track] = stream.getTracks();
  track.onended = () => onLost("The camera was taken away.");
  const source = await film((video) => { video.srcObject = stream; });
  return { ...source, mirrored: true, close: () => track.stop() };
}

/** Open a photo or a video. */
export async function file(chosen) {
  const unreadable = () => {
    const name = chosen.name ?? "The picture";
    throw new Error(`${name} cannot be shown: this browser does not know its format, or it is damaged.`);
  };
  return chosen.type.startsWith("video/") ? videoFile(chosen).catch(unreadable) : photo(chosen).catch(unreadable);
}

async function photo(blob) {
  const element = await createImageBitmap(blob); // upright, as the camera noted
  return { element, width: element.width, height: element.height, moving: false, close: () => element.close() };
}

async function videoFile(blob) {
  const address = URL.createObjectURL(blob);
  const source = await film((video) => { video.src = address; video.loop = true; });
  return { ...source, close: () => { source.element.pause(); URL.revokeObjectURL(address); } };
}

/** Return a source of moving pictures, once `begin` has given a video element what to play. */
async function film(begin) {
  const element = document.createElement("video");
  element.muted = element.playsInline = true;
  const ready = new Promise((resolve, reject) => {
    element.onloadeddata = resolve;
    element.onerror = () => reject(element.error);
  });
  begin(element);
  await ready;
  await element.play();
  return { element, width: element.videoWidth, height: element.videoHeight, moving: true };
}

/** Return a source's picture of this moment as a canvas, whose longer side has at most so many pixels. */
export function snapshot(source, longest) {
  const scale = Math.min(1, longest / Math.max(source.width, source.height));
  const canvas = new OffscreenCanvas(Math.round(source.width * scale), Math.round(source.height * scale));
  const context = canvas.getContext("2d");
  if (source.mirrored) {
    context.translate(canvas.width, 0);
    context.scale(-1, 1);
  }
  context.drawImage(source.element, 0, 0, canvas.width, canvas.height);
  return canvas;
}
