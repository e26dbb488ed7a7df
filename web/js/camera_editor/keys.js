// The keyboard, and the list of it. Keys fly and step while held; the others run a command of the editor.

import { element } from "./canvas_view.js";

/** [keys as shown, what they do, combination, command]; without a command it is a gesture. */
const SHORTCUTS = {
  Scene: [
    ["Drag", "look around"],
    ["Shift + drag, right drag", "pan"],
    ["Wheel", "zoom"],
    ["W A S D, Q E", "fly; with Shift faster"],
  ],
  Camera: [
    ["Drag a handle", "move, rotate or roll the camera"],
    ["Drag in the ego view", "turn the gaze; with Shift move"],
    ["Wheel in the ego view", "move ahead and back"],
    ["Ctrl while dragging", "a tenth as far"],
    ["Digits while dragging", "exactly so many m, \u00b0 or frames; Enter takes it"],
    ["W A S D, Q E over the ego view", "walk with the camera"],
    ["P", "place the eyes: click there, then where they look", "p", "place"],
    ["L", "look at: all keys look at the point you click", "l", "lookAt"],
    ["R", "roll lock", "r", "rollLock"],
    ["H", "eye-height snap", "h", "eyeSnap"],
    ["Esc", "put the tool away", "escape", "cancel"],
  ],
  Timeline: [
    ["Space", "play and pause", " ", "play"],
    ["\u2190 \u2192", "a frame back or on", "arrowleft", "back"],
    ["I O", "loop from and to here; again: the whole clip", "i", "loopFrom"],
    [", . or \u2193 \u2191", "previous and next key", ",", "previousKey"],
    ["Home End, Shift + \u2190 \u2192", "first and last frame", "home", "first"],
    ["K", "set a key", "k", "setKey"],
    ["Delete", "delete the key", "delete", "deleteKey"],
    ["Ctrl+C, Ctrl+V", "copy and paste keys, also from and to text"],
    ["Drag a key, with Alt", "move it, copy it"],
    ["Shift + click a key", "choose several; Shift + drag: all of a range"],
    ["Ctrl+A", "choose all keys; Esc: none", "ctrl+a", "selectAll"],
    ["Drag an end of the bar", "scale the chosen keys in time"],
    ["C", "curves of position and direction", "c", "curves"],
  ],
  Views: [
    ["F", "come near the camera", "f", "showEgo"],
    ["G", "show the whole scene", "g", "showAll"],
    ["1 2 3", "from above, front, side", "1", "top"],
    ["X", "exo image in the scene", "x", "exoPicture"],
    ["B", "exo image or a key's view over the ego view", "b", "overlay"],
    ["Double click a view, V", "bring it to the front; the ego view", "v", "swap"],
    ["Z", "full screen; Esc leaves it", "z", "large"],
    ["Ctrl+Z, Ctrl+Shift+Z", "undo, redo", "ctrl+z", "undo"],
    ["?", "this list", "?", "help"],
  ],
};

// Keys that share a line of the list with another.
const MORE = {
  arrowright: "forth", arrowdown: "previousKey", arrowup: "nextKey", "shift+arrowleft": "first", "shift+arrowright": "last",
  o: "loopTo", ".": "nextKey", end: "last", "2": "front", "3": "side",
  backspace: "deleteKey", "ctrl+y": "redo", "ctrl+shift+z": "redo",
};
const FLY = { w: [0, 0, 1], s: [0, 0, -1], a: [-1, 0, 0], d: [1, 0, 0], e: [0, 1, 0], q: [0, -1, 0] };

const listed = Object.values(SHORTCUTS).flat().filter((entry) => entry[3]);
const COMMANDS = { ...Object.fromEntries(listed.map(([, , combination, command]) => [combination, command])), ...MORE };

/**
 * What a key press means.
 * @param {KeyboardEvent} event
 * @returns {{command: string} | {fly: number[]} | null} fly: right, up, ahead
 */
export function meaningOf(event) {
  const key = event.key.toLowerCase();
  const ctrl = event.ctrlKey || event.metaKey;
  if (event.altKey) return null;
  if (!ctrl && FLY[key]) return { fly: FLY[key] };
  const shift = event.shiftKey && (ctrl || key.startsWith("arrow")) ? "shift+" : "";
  const command = COMMANDS[`${ctrl ? "ctrl+" : ""}${shift}${key}`];
  return command ? { command } : null;
}

/** @returns {boolean} whether a key press is left to the page: queue, save and open, whatever has the focus */
export function isOfPage(event) {
  return (event.ctrlKey || event.metaKey) && ["enter", "s", "o"].includes(event.key.toLowerCase());
}

/** @returns {HTMLElement} the list, over the editor; a click closes it */
export function helpOverlay(close) {
  const columns = Object.entries(SHORTCUTS).map(([name, entries]) => {
    const rows = entries.map(([keys, what]) => element("div", {}, element("kbd", {}, keys), element("span", {}, what)));
    return element("section", {}, element("h4", {}, name), ...rows);
  });
  const overlay = element("div", { className: "e2e-help", hidden: true }, ...columns);
  overlay.addEventListener("click", close);
  return overlay;
}
