// What is read in the chosen face: its label and seven bars; and a chip for each face.

import { described, emotions, percent, tint } from "./emotions.js";

const chips = document.getElementById("chips");
const label = document.getElementById("label");
const bars = document.getElementById("bars");

/** Make the bars. `onShow(emotion)` is called when one is looked at, by pointer or keyboard; null: no more. */
export function begin(onShow) {
  bars.replaceChildren(...emotions.map((emotion) => bar(emotion, onShow)));
}

function bar(emotion, onShow) {
  const button = element("button", "");
  button.type = "button";
  button.setAttribute("aria-describedby", "bars-hint");
  tint(button, emotion);
  const track = element("span", "track", element("span", "fill"));
  button.append(element("span", "name", emotion), track, element("span", "percent", "–"));
  const show = (shown) => () => {
    button.classList.toggle("shown", shown);
    onShow(shown ? emotion : null);
  };
  for (const event of ["pointerenter", "focus"]) button.addEventListener(event, show(true));
  for (const event of ["pointerleave", "blur"]) button.addEventListener(event, show(false));
  return element("li", "", button);
}

/** Show the chosen face, undefined if there is none, among all faces. */
export function show(face, faces, choose) {
  showChips(face, faces, choose);
  write(label, face ? described(face) : "no face");
  label.classList.toggle("none", !face);
  [...bars.querySelectorAll("button")].forEach((button, index) => {
    const share = face?.probabilities[index] ?? 0;
    button.querySelector(".fill").style.transform = `scaleX(${share})`;
    write(button.querySelector(".percent"), face ? percent(share) : "–");
    button.classList.toggle("top", Boolean(face) && share === Math.max(...face.probabilities));
  });
}

/** Chips are kept as long as they can be: whoever is on one with the keyboard stays there. */
function showChips(chosen, faces, choose) {
  while (chips.children.length > faces.length) chips.lastChild.remove();
  faces.forEach((face, index) => {
    let chip = chips.children[index];
    if (!chip) {
      chip = element("button", "");
      chip.type = "button";
      chips.append(chip);
    }
    chip.onclick = () => choose(face.id);
    chip.ariaPressed = String(face === chosen);
    tint(chip, face.label);
    write(chip, `${face.id} ${face.label}`);
  });
  chips.hidden = faces.length < 2;
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...children);
  return made;
}

function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}
