// The last 30 seconds of the chosen face: seven areas, one upon the other, which always add up to 100 %.

import { colours, emotions, percent } from "./emotions.js";

const SECONDS = 30;
const LONGEST_GAP = 1; // seconds without the face before the areas are interrupted
const canvas = document.getElementById("timeline");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const histories = new Map(); // of each face: [{ time, probabilities }], times in seconds
let drawn = 0;

/** Note down what is read in all faces now, and draw the history of the chosen one. */
export function add(faces, chosen) {
  const time = performance.now() / 1000;
  for (const face of faces) {
    if (!histories.has(face.id)) histories.set(face.id, []);
    const history = histories.get(face.id);
    if (time - (history.at(-1)?.time ?? 0) >= 0.1) history.push({ time, probabilities: face.probabilities });
  }
  for (const [id, history] of histories) {
    while (history.length && history[0].time < time - SECONDS) history.shift();
    if (!history.length) histories.delete(id);
  }
  if (time - drawn < (calm.matches ? 1 : 0.05)) return;
  drawn = time;
  draw(histories.get(chosen) ?? [], time);
}

/** Forget all faces: their numbers begin anew with another source. */
export function clear() {
  histories.clear();
  draw([], 0);
}

function draw(history, now) {
  canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
  canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
  const context = canvas.getContext("2d");
  const x = (time) => canvas.width * (1 - (now - time) / SECONDS);
  for (const run of runs(history)) {
    let below = run.map(() => 0);
    emotions.forEach((emotion, index) => {
      const above = run.map((sample, place) => below[place] + sample.probabilities[index]);
      const corners = run.map((sample, place) => [x(sample.time), above[place]]);
      corners.push(...run.map((sample, place) => [x(sample.time), below[place]]).reverse());
      context.fillStyle = colours[emotion];
      context.beginPath();
      for (const [across, share] of corners) context.lineTo(across, canvas.height * (1 - share));
      context.fill();
      below = above;
    });
  }
  canvas.ariaLabel = summary(history);
}

/** Cut a history where the face was gone. */
function runs(history) {
  const found = [];
  history.forEach((sample, index) => {
    if (!index || sample.time - history[index - 1].time > LONGEST_GAP) found.push([]);
    found.at(-1).push(sample);
  });
  return found;
}

function summary(history) {
  if (!history.length) return "Nothing yet";
  const means = emotions.map((emotion, index) => {
    const sum = history.reduce((total, sample) => total + sample.probabilities[index], 0);
    return [emotion, sum / history.length];
  });
  const [first, second] = means.sort((a, b) => b[1] - a[1]);
  return `On average ${first[0]} ${percent(first[1])}, ${second[0]} ${percent(second[1])}`;
}
