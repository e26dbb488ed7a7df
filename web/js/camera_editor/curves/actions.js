// What the buttons above the curves do, and pasting keys.

import { quatInverse, quatMultiply, quatToVector, scale } from "../math.js";
import { flat, withoutSlopes } from "./channels.js";
import { withKeys } from "./retiming.js";
import { farthest, smoothed, thinned } from "./thinning.js";

const DEGREES = 180 / Math.PI;

const toleranceOf = ({ options }) => ({ metres: options.thinCentimetres / 100, degrees: options.thinDegrees });
const inWords = ({ metres, degrees }) =>
  `at most ${(100 * metres).toFixed(1)} cm and ${degrees.toFixed(1)}\u00b0 from where the camera was`;

/** As few keys as the tolerance allows. */
export function thinOut(editor) {
  const { keyframes } = editor.shown;
  const made = thinned(keyframes, toleranceOf(editor));
  if (made.length >= keyframes.length) return editor.tell("Within these cm and degrees no key can go.");
  editor.tell(`${keyframes.length} keys became ${made.length}, ${inWords(farthest(made, keyframes))}.`);
  editor.edit({ ...editor.shown, keyframes: made }, new Set());
}

/** Take noise out of the keys. */
export function smoothKeys(editor) {
  const { keyframes } = editor.shown;
  if (keyframes.length < 3) return editor.tell("There is nothing to smooth: it takes three keys.");
  const made = smoothed(keyframes, toleranceOf(editor));
  editor.tell(`Smoothed: ${inWords(farthest(made, keyframes))}.`);
  editor.edit({ ...editor.shown, keyframes: made });
}

/** Tangents as by themselves, and turns without a bend. */
export const smoothSlopes = (editor) =>
  changeKeys(editor, (key, before, after) => {
    if (!before || !after) return withoutSlopes(key);
    const whole = quatToVector(quatMultiply(quatInverse(before.rotation), after.rotation));
    const turn = scale(whole, DEGREES / (after.frame - before.frame));
    return { ...withoutSlopes(key), turn_in: turn, turn_out: turn };
  });

/** Come to rest at the keys. */
export const flatSlopes = (editor) => changeKeys(editor, flat);

/** As keys begin. */
export const plainSlopes = (editor) => changeKeys(editor, withoutSlopes);

// Changes the chosen keys, or all: (key, the one before, the one after) => key.
function changeKeys(editor, change) {
  const { keyframes } = editor.shown;
  if (!keyframes.length) return editor.tell("There are no keys yet.");
  const isChosen = (key) => !editor.selected.size || editor.selected.has(key.frame);
  const made = keyframes.map((key, i) => (isChosen(key) ? change(key, keyframes[i - 1], keyframes[i + 1]) : key));
  editor.edit({ ...editor.shown, keyframes: made });
}

/** Put keys to the frame of now, the first of them; those that would lie beyond the clip are left out. */
export function pasteKeys(editor, keys) {
  if (!keys.length) return editor.tell("The copied trajectory has no keys.");
  const shift = editor.frame - keys[0].frame;
  const moved = keys.map((key) => ({ ...key, frame: key.frame + shift })).filter((key) => key.frame < editor.nFrames);
  editor.edit(withKeys(editor.shown, moved), new Set(moved.map((key) => key.frame)));
  const left = keys.length - moved.length;
  if (left) editor.tell(`${left} of ${keys.length} keys would lie beyond the clip and were left out.`);
}
