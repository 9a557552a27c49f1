// What the page says in words: errors, what it waits for, how fast it is; and what a screen reader hears.

import { described, model } from "./emotions.js";

const PATIENCE = 1500; // milliseconds without an answer, or without a face, before the page says so
const HEARD = 4000; // milliseconds between two things that a screen reader is told
const [GONE, BUSY] = [[0], [429, 503]]; // statuses of trouble that may pass
const [note, speed, announcer] = ["note", "speed", "announcer"].map((id) => document.getElementById(id));
let slow; // timer
let faceTime = 0; // when there was a face last, in milliseconds
let answerTime = 0;
let pace = 0; // milliseconds from one answer to the next, averaged
let announced = 0;

function say(text, kind = "") {
  if (note.textContent === text && note.className === kind) return;
  note.textContent = text;
  note.className = kind;
  note.hidden = !text;
  if (text) announcer.textContent = text;
}

export const alarm = (text) => say(text, "alarm");

/** Begin with a new source, or with none. */
export function clear() {
  clearTimeout(slow);
  say("");
  speed.textContent = "";
  faceTime = performance.now();
  answerTime = pace = announced = 0;
}

/** A question is on its way. */
export function asked() {
  clearTimeout(slow);
  slow = setTimeout(() => say("The network is being prepared. The first time, this takes a while."), PATIENCE);
}

/** The server would not, or could not, answer; return whether it may if it is asked again. */
export function refused({ status, message }) {
  clearTimeout(slow);
  alarm(BUSY.includes(status) ? "The server is busy. Trying again." : message);
  return [...GONE, ...BUSY].includes(status);
}

/** An answer is here; return in words what it says. */
export function answered({ faces, detection_ms, prediction_ms }, moving) {
  clearTimeout(slow);
  const now = performance.now();
  if (faces.length) faceTime = now;
  const nobody = !faces.length && (!moving || now - faceTime > PATIENCE);
  say(nobody ? "No face found. Faces seen from the front, in good light, are found best." : "");
  const times = `${detection_ms.toFixed(0)} ms to find faces, ${prediction_ms.toFixed(1)} ms to read them`;
  if (answerTime) pace += (now - answerTime - pace) * (pace ? 0.1 : 1);
  answerTime = now;
  speed.textContent = `${model}: ${moving && pace ? `${(1000 / pace).toFixed(0)} frames/s, ` : ""}${times}`;
  const count = faces.length === 1 ? "1 face" : `${faces.length} faces`;
  const words = [count, ...faces.map(described)].join(", ");
  if (faces.length && now - announced > HEARD && announcer.textContent !== words) {
    announcer.textContent = words;
    announced = now;
  }
  return words;
}
