// The emotions and their colours, as the server names them.

import { about } from "./server.js";

export const { model, emotions, colours } = await about();

/** Give an element the colour of a label. */
export function tint(element, label) {
  element.style.setProperty("--emotion", colours[label]);
}

/** Return black or white, whichever is easier to read on a colour "#rrggbb" (WCAG 2, relative luminance). */
export function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((place) => {
    const share = parseInt(colour.slice(place, place + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
}

export const percent = (share) => `${Math.round(100 * share)} %`;

/** Return a face's label and how probable it is, such as "happy 87 %". */
export function described(face) {
  const share = emotions.includes(face.label) ? ` ${percent(Math.max(...face.probabilities))}` : "";
  return face.label + share;
}
