// Brings the parts together: a source gives pictures, the server says who is in them, the page shows it.

import * as picture from "./picture.js";
import * as reading from "./reading.js";
import { drawnFaces, Film, findFaces } from "./server.js";
import * as sight from "./sight.js";
import * as sources from "./sources.js";
import * as status from "./status.js";
import * as timeline from "./timeline.js";

const FRAME = 640; // pixels of a frame's longer side: faces are searched at this size anyway
const PHOTO = 1600; // of a photo's
const FASTEST = 1000 / 30; // milliseconds from one frame to the next
const RETRY = 1000; // milliseconds after which a question is put again

const ids = ["stage", "camera", "pause", "file", "history"];
const [stage, cameraButton, pauseButton, chooser, timelinePart] = ids.map((id) => document.getElementById(id));
let source = null;
let shown = null; // the picture that was answered last
let answer = null; // what was said of it
let chosen; // number of the face that is shown in detail
let opened = 0; // how many sources have been asked for
let drawings = 0;

const wait = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

/** Show the source that a promise gives, in place of the one before it. */
async function use(opening) {
  stop();
  opened += 1;
  const turn = opened;
  const mine = await opening.catch((error) => status.alarm(error.message));
  if (turn !== opened) mine?.close();
  if (!mine || turn !== opened) return;
  source = mine;
  stage.classList.remove("empty");
  cameraButton.textContent = mine.mirrored ? "Stop the camera" : "Use the camera";
  pauseButton.hidden = timelinePart.hidden = !mine.moving;
  if (mine.moving) await follow(mine);
  else while (source === mine && (await ask(mine, findFaces, PHOTO)));
}

function stop() {
  source?.close();
  source = shown = answer = null;
  stage.classList.add("empty");
  cameraButton.textContent = "Use the camera";
  pauseButton.textContent = "Pause";
  pauseButton.hidden = timelinePart.hidden = true;
  timeline.clear();
  sight.update(undefined);
  reading.show(undefined, [], choose);
  picture.describe("No picture yet");
  status.clear();
}

/** Have frame after frame of a film answered, as fast as that goes, but not faster than needed. */
async function follow(mine) {
  const film = new Film();
  while (source === mine) {
    const due = wait(FASTEST);
    if (!mine.element.paused && !document.hidden) await ask(mine, (jpeg) => film.ask(jpeg), FRAME);
    await due;
  }
  film.close();
}

/** Ask whose faces are in a source's picture and show the answer; or say why not, and return whether to ask again. */
async function ask(mine, question, longest) {
  const frame = sources.snapshot(mine, longest);
  if (!answer) picture.draw(frame);
  status.asked();
  try {
    const said = await question(await frame.convertToBlob({ type: "image/jpeg", quality: 0.9 }));
    if (source === mine) show(frame, said);
    return false;
  } catch (error) {
    if (source !== mine) return false;
    const passing = status.refused(error);
    await wait(RETRY);
    return passing;
  }
}

/** Show what the server said of a picture. Shown is that picture, not a newer one: boxes fit their faces. */
function show(frame, said) {
  [shown, answer] = [frame, said];
  if (!answer.faces.some(({ id }) => id === chosen)) chosen = answer.faces[0]?.id;
  picture.describe(status.answered(answer, source.moving));
  if (source.moving) timeline.add(answer.faces, chosen);
  refresh();
}

/** Show the chosen face. */
function refresh() {
  const { faces } = answer;
  const face = faces.find(({ id }) => id === chosen);
  reading.show(face, faces, choose);
  sight.update(face);
  redraw();
}

function redraw() {
  if (answer) picture.draw(shown, answer, chosen, sight.evidenceOn(chosen));
}

function choose(id) {
  chosen = id;
  refresh();
}

function openFile(file) {
  if (file) use(sources.file(file));
}

function loseCamera(reason) {
  stop();
  status.alarm(reason);
}

cameraButton.onclick = () => (source?.mirrored ? stop() : use(sources.camera(loseCamera)));
document.getElementById("draw").onclick = () => {
  use(drawnFaces(drawings).then(sources.file));
  drawings += 1;
};
document.getElementById("open").onclick = () => chooser.click();
chooser.onchange = () => {
  openFile(chooser.files[0]);
  chooser.value = ""; // so that the same file may be chosen again
};
pauseButton.onclick = () => {
  const { element } = source;
  pauseButton.textContent = element.paused ? "Pause" : "Go on";
  element.paused ? element.play() : element.pause();
};

addEventListener("dragover", (event) => {
  event.preventDefault(); // or the browser would leave the page for the file
  stage.classList.add("target");
});
addEventListener("dragleave", ({ relatedTarget }) => stage.classList.toggle("target", relatedTarget !== null));
addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("target");
  openFile(event.dataTransfer.files[0]);
});
addEventListener("resize", redraw);

picture.onClick(choose);
sight.begin(redraw);
reading.begin((emotion) => { sight.showEvidence(emotion); redraw(); });
