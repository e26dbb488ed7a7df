// What buttons and keys do: one function a command.

import { flatSlopes, plainSlopes, pasteKeys, smoothKeys, smoothSlopes, thinOut } from "./curves/actions.js";
import { OVERLAYS } from "./ego_overlay.js";
import { lookAt, MOVES } from "./moves.js";
import { withKey, writeTrajectory } from "./trajectory.js";

let copied = null; // a trajectory of some keys, for every editor of the page

const keyFrames = (editor) => editor.shown.keyframes.map((key) => key.frame);

// One chosen key is soon forgotten: then the key at the frame of now is meant, where there is one.
const actsOnChosen = (editor) => editor.selected.size > (editor.key() ? 1 : 0);

/** @type {Record<string, (editor: import("./editor.js").Editor) => void>} */
export const COMMANDS = {
  place: (editor) => editor.take(editor.tool === "eyes" || editor.tool === "gaze" ? null : "eyes"),
  lookAt: (editor) => editor.take(editor.tool === "lookAt" ? null : "lookAt"),
  cancel: (editor) => {
    const busy = editor.tool || editor.selected.size || !editor.help.hidden || !editor.textBox.root.hidden;
    if (!busy && editor.large.isOpen) editor.large.close();
    if (!editor.tool) editor.select([]);
    editor.take(null);
    editor.help.hidden = true;
    editor.textBox.root.hidden = true;
  },
  help: (editor) => (editor.help.hidden = !editor.help.hidden),
  rollLock: (editor) => editor.setOption("rollLock", !editor.options.rollLock),
  eyeSnap: (editor) => editor.setOption("eyeSnap", !editor.options.eyeSnap),
  exoPicture: (editor) => editor.setOption("exoPicture", !editor.options.exoPicture),
  overlay: (editor) => editor.setOption("overlay", OVERLAYS[(OVERLAYS.indexOf(editor.options.overlay) + 1) % OVERLAYS.length]),
  large: (editor) => editor.large.toggle(),
  swap: (editor) => editor.large.toFront("ego"),
  undo: (editor) => editor.step(-1),
  redo: (editor) => editor.step(1),

  play: (editor) => editor.play(!editor.playing),
  // At the end that is set already: back to the whole clip.
  loopFrom: (editor) => editor.setOption("loopFrom", editor.frame === editor.options.loopFrom ? 0 : editor.frame),
  loopTo: (editor) => editor.setOption("loopTo", editor.frame === editor.options.loopTo ? -1 : editor.frame),
  back: (editor) => editor.goTo(editor.frame - 1),
  forth: (editor) => editor.goTo(editor.frame + 1),
  first: (editor) => editor.goTo(0),
  last: (editor) => editor.goTo(editor.nFrames - 1),
  previousKey: (editor) => editor.goTo(keyFrames(editor).findLast((frame) => frame < editor.frame) ?? editor.frame),
  nextKey: (editor) => editor.goTo(keyFrames(editor).find((frame) => frame > editor.frame) ?? editor.frame),

  setKey: (editor) => editor.edit(withKey(editor.shown, editor.frame, editor.pose())),
  deleteKey: (editor) => {
    const gone = actsOnChosen(editor) ? editor.selected : new Set([editor.frame]);
    const keyframes = editor.shown.keyframes.filter((key) => !gone.has(key.frame));
    if (keyframes.length < editor.shown.keyframes.length) editor.edit({ ...editor.shown, keyframes });
    else editor.tell("There is no key at this frame.");
  },
  selectAll: (editor) => editor.select(keyFrames(editor)),
  copyKey: (editor) => {
    const none = { ...editor.shown, keyframes: [] };
    const now = withKey(none, editor.frame, editor.pose(), editor.key());
    const keys = actsOnChosen(editor) ? editor.chosenKeys() : now.keyframes;
    copied = { ...none, keyframes: keys };
    editor.tell(`Copied ${keys.length > 1 ? `${keys.length} keys` : "the key"}. Go to another frame and paste there.`);
  },
  pasteKey: (editor) => {
    if (copied) pasteKeys(editor, copied.keyframes);
    else editor.tell("Nothing was copied yet.");
  },

  curves: (editor) => editor.setOption("curves", !editor.options.curves),
  asText: (editor) => editor.textBox.open(),
  thin: thinOut,
  smooth: smoothKeys,
  smoothSlopes,
  flatSlopes,
  plainSlopes,

  showEgo: (editor) => editor.orbit.showEgo(),
  showAll: (editor) => editor.orbit.showAll(),
  top: (editor) => editor.orbit.camera.face("top"),
  front: (editor) => editor.orbit.camera.face("front"),
  side: (editor) => editor.orbit.camera.face("side"),
};

/** @returns {string} the copied keys as text, for the clipboard */
export const copiedText = () => writeTrajectory(copied);

/** What the pointer does next, while a tool is in hand. */
export const TOOL_HINTS = {
  eyes: "Click where the eyes are, in the scene or in the exo image. Esc ends this.",
  gaze: "Now click where they look. Esc keeps the direction.",
  lookAt: "Click the point that all keys look at. Esc ends this.",
};

/** Make a whole trajectory by a preset of `moves.js`. */
export function applyMove(editor, name) {
  try {
    editor.edit(MOVES[name].make(momentOf(editor)));
    if (name === "static") editor.goTo(0);
  } catch (error) {
    editor.tell(error.message);
  }
}

/** Turn every key to a point. */
export function lookAtPoint(editor, point) {
  editor.edit(lookAt(momentOf(editor), point));
}

function momentOf(editor) {
  const { shown: trajectory, frame, scene, options } = editor;
  const nFrames = scene.nFrames || editor.nFrames; // the clip's: keys may lie beyond it
  const startIsLinked = editor.host.startIsLinked?.() ?? false;
  return { trajectory, pose: editor.pose(), frame, nFrames, scene, rollLock: options.rollLock, startIsLinked };
}
