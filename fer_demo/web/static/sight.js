// What the network sees: the face of 48 x 48, the maps of each block, and where the evidence is.

import { emotions } from "./emotions.js";
import { grey, heat, numbers, painted, showFace, showMaps } from "./paint.js";
import { look } from "./server.js";

const PAUSE = 400; // milliseconds between two looks
const ids = ["sight", "sight-hint", "layers", "closer", "detail", "caption"];
const [part, hint, layers, closer, detail, caption] = ids.map((id) => document.getElementById(id));

let wanted; // the face that is to be looked into
let seen = null; // the last look: { id, pixels, label, face, blocks, evidence }
let emotion = null; // whose evidence is asked for; null: of what is read in the face
let shown = "evidence"; // the tile that is shown large
let visible = false;
let resting = false; // a look is on its way, or only just done
let onSeen;

/** `callback` is called when there is something new to see. */
export function begin(callback) {
  onSeen = callback;
  new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    lookIn();
  }).observe(part);
}

/** Look into a face, undefined for none, as soon as somebody can see it. */
export function update(face) {
  wanted = face;
  if (!face && seen) seen.id = undefined; // the next face of that number is another one
  if (face && face.pixels === seen?.pixels && top(face) !== seen.label) {
    seen.label = top(face); // of a face that holds still: what is read in it settles later than its pixels
    show();
  }
  lookIn();
}

async function lookIn() {
  if (resting || !wanted || wanted.pixels === seen?.pixels || !(visible || emotion)) return;
  resting = true;
  const face = wanted;
  hint.textContent = "The network is being prepared. The first time, this takes a while.";
  try {
    const { blocks, evidence } = await look(numbers(face.pixels));
    const maps = Object.entries(evidence).map(([name, base64]) => [name, painted(numbers(base64), 48, heat)]);
    seen = { id: face.id, pixels: face.pixels, label: top(face), blocks, evidence: Object.fromEntries(maps) };
    seen.face = painted(numbers(face.pixels), 48, grey);
    show();
    onSeen();
  } catch {
    // The next picture has the same trouble, and says so.
  }
  setTimeout(() => { resting = false; lookIn(); }, PAUSE);
}

const top = (face) => emotions[face.probabilities.indexOf(Math.max(...face.probabilities))];

/** Show the evidence for an emotion, null: for what is read in the face. */
export function showEvidence(name) {
  emotion = name;
  if (name) shown = "evidence";
  if (seen) show();
  lookIn();
}

/** Return the evidence to lay over a face of the picture, if somebody asked for it. */
export function evidenceOn(id) {
  return emotion && seen?.id === id ? seen.evidence[emotion] : null;
}

function tiles() {
  const of = emotion ?? seen.label;
  const face = {
    key: "face",
    title: "input",
    size: "48 × 48",
    text: "All that the network gets of the face: 48 × 48 grey pixels.",
    paint: (canvas) => showFace(canvas, seen.face),
  };
  const evidence = {
    key: "evidence",
    title: "evidence",
    size: of,
    text:
      `Where the evidence for “${of}” lies (Grad-CAM): bright yellow is strong, no colour is none. ` +
      "Point at another emotion’s bar, or move to it with the keyboard, to see where its evidence lies.",
    paint: (canvas) => showFace(canvas, seen.face, seen.evidence[of]),
  };
  return [face, ...seen.blocks.map(blockTile), evidence];
}

function blockTile(block, index, blocks) {
  const { maps, width, height, name } = block;
  const size = `${width} × ${height}`;
  const isLast = index === blocks.length - 1 && maps === emotions.length;
  return {
    key: name,
    title: name.replace(/(\D)(\d+)$/, "$1 $2"),
    size: `${maps} of ${size}`,
    text: isLast
      ? `The last maps, one for each emotion. The mean of its ${size} numbers is an emotion’s score.`
      : `${maps} maps of ${size}. Each looks for one pattern everywhere in the face, and is bright where it finds it.`,
    paint: (canvas, large) => showMaps(canvas, block, large ? 96 : 24, large ? 8 : 3),
  };
}

function show() {
  const all = tiles();
  closer.hidden = false;
  hint.hidden = true;
  if (layers.children.length !== all.length) layers.replaceChildren(...all.map(newTile));
  all.forEach((tile, index) => {
    const button = layers.children[index];
    button.dataset.key = tile.key;
    button.ariaPressed = String(tile.key === shown);
    button.querySelector("span").textContent = tile.title;
    button.querySelector("small").textContent = tile.size;
    tile.paint(button.querySelector("canvas"), false);
  });
  const large = all.find((tile) => tile.key === shown) ?? all.at(-1);
  large.paint(detail, true);
  detail.ariaLabel = `${large.title}: ${large.size}`;
  if (caption.textContent !== large.text) caption.textContent = large.text;
}

function newTile() {
  const button = document.createElement("button");
  button.type = "button";
  const canvas = document.createElement("canvas");
  button.append(canvas, document.createElement("span"), document.createElement("small"));
  for (const event of ["pointerenter", "focus", "click"]) {
    button.addEventListener(event, () => { shown = button.dataset.key; show(); });
  }
  return button;
}
