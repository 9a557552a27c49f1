// Grey pixels from the server, and how they get onto a canvas.

/** Return the numbers, 0 to 255, that the server sent as base64. */
export function numbers(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Return a canvas of one pixel for each number, its colour [red, green, blue, alpha] given by `colour`. */
export function painted(values, width, colour) {
  const image = new ImageData(width, values.length / width);
  values.forEach((value, index) => image.data.set(colour(value), 4 * index));
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

export const grey = (value) => [value, value, value, 255];

/** From nothing over red to bright yellow: how much evidence there is. */
export function heat(value) {
  const share = value / 255;
  return [150 + 105 * Math.min(1, 2 * share), 230 * Math.max(0, 1.6 * share - 0.6), 40, 215 * Math.sqrt(share)];
}

/** Make a canvas as large as the picture of 48 x 48, and show it, under evidence if there is some. */
export function showFace(canvas, face, evidence) {
  canvas.width = canvas.height = 384;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(face, 0, 0, 384, 384);
  if (evidence) {
    context.imageSmoothingEnabled = true;
    context.drawImage(evidence, 0, 0, 384, 384);
  }
}

/** Show the maps of a block side by side, in rows about twice as long as high. */
export function showMaps(canvas, block, tile, gap) {
  const columns = 2 ** Math.ceil(Math.log2(Math.sqrt(block.maps)));
  const rows = Math.ceil(block.maps / columns);
  const column = painted(numbers(block.pixels), block.width, grey);
  canvas.width = columns * (tile + gap) - gap;
  canvas.height = rows * (tile + gap) - gap;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  for (let map = 0; map < block.maps; map += 1) {
    const [row, place] = [Math.floor(map / columns), map % columns];
    const from = [0, map * block.height, block.width, block.height];
    context.drawImage(column, ...from, place * (tile + gap), row * (tile + gap), tile, tile);
  }
}
