// The picture, with a box around each face.

import { colours, described, inkOn } from "./emotions.js";

const canvas = document.getElementById("picture");
const context = canvas.getContext("2d");
let boxes = []; // what was drawn last, in the canvas's pixels

/** Draw a picture, and the faces of the server's answer, if any; `heat`, if any, lies over the chosen one. */
export function draw(frame, answer, chosen, heat) {
  fit(frame);
  context.drawImage(frame, 0, 0, canvas.width, canvas.height);
  const scale = canvas.width / frame.width;
  boxes = (answer?.faces ?? []).map((face) => ({ face, box: face.box.map((length) => length * scale) }));
  for (const { face, box } of boxes) {
    if (heat && face.id === chosen) context.drawImage(heat, ...box);
    drawBox(box, face, face.id === chosen);
  }
}

/** Make the canvas as wide as there is room, but not higher than most of the window. */
function fit(frame) {
  const room = canvas.parentElement.clientWidth;
  const width = Math.floor(Math.min(room, (0.7 * innerHeight * frame.width) / frame.height));
  canvas.style.width = `${width}px`;
  canvas.width = width * devicePixelRatio;
  canvas.height = (canvas.width * frame.height) / frame.width;
}

function drawBox([x, y, width, height], face, isChosen) {
  const unit = devicePixelRatio;
  const colour = colours[face.label];
  context.lineWidth = (isChosen ? 4 : 2) * unit;
  context.strokeStyle = colour;
  context.strokeRect(x, y, width, height);
  context.font = `600 ${14 * unit}px system-ui, sans-serif`;
  const text = described(face);
  const [high, wide] = [24 * unit, context.measureText(text).width + 14 * unit];
  const left = Math.max(0, Math.min(x - context.lineWidth / 2, canvas.width - wide));
  const top = y >= high ? y - high : y; // above the box, or in it if there is no room
  context.fillStyle = colour;
  context.fillRect(left, top, wide, high);
  context.fillStyle = inkOn(colour);
  context.textBaseline = "middle";
  context.fillText(text, left + 7 * unit, top + high / 2);
}

/** Call `choose` with a face's number if it is clicked. */
export function onClick(choose) {
  canvas.addEventListener("click", (event) => {
    const [across, down] = [event.offsetX, event.offsetY].map((place) => place * devicePixelRatio);
    const isIn = ([x, y, width, height]) => across >= x && across < x + width && down >= y && down < y + height;
    const hit = boxes.find(({ box }) => isIn(box));
    if (hit) choose(hit.face.id);
  });
}

/** Say for those who cannot see the picture what is in it. */
export function describe(text) {
  if (canvas.ariaLabel !== text) canvas.ariaLabel = text;
}
