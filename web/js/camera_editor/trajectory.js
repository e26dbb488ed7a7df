// The trajectory: keyframes, the lens, and the text that stores them. The same curve as geometry/cameras/trajectory.py, the same
// text as geometry/cameras/trajectory_json.py. A trajectory is never changed in place: every edit makes a new one.

import { hermite, hermiteTurn, slerp } from "./math.js";
import { quatInverse, quatMultiply, quatNormalize, quatToMatrix, quatToVector, scale } from "./math.js";
import { ARIA } from "./presets.js";

const FORMAT = "exo2ego.trajectory";
const VERSION = 1;
const MAX_SIDE = 8192; // pixels
const MAX_FRAME = 1_000_000;
const MAX_DISTANCE = 1e6; // metres
const MAX_TURN = 360; // degrees a frame, each way
const HISTORY = 200; // steps that can be undone

/**
 * @typedef {object} Keyframe
 * @property {number} frame from 0
 * @property {number[]} position camera center [x, y, z], metres
 * @property {number[]} rotation [w, x, y, z], camera to world
 * @property {number} ease_in 0 (even speed) to 1 (comes to rest)
 * @property {number} ease_out
 * @property {number[]} [tangent_in] metres a frame [x, y, z] on arriving; without it the way from the key before to the key
 *     after decides
 * @property {number[]} [tangent_out] likewise, on leaving
 * @property {number[]} [turn_in] degrees a frame [x, y, z] about the camera's own axes on arriving; without it the turn is even
 * @property {number[]} [turn_out] likewise, on leaving
 */

/** What a key may have beside its numbers, and how large its parts may be. */
export const SLOPES = { tangent_in: MAX_DISTANCE, tangent_out: MAX_DISTANCE, turn_in: MAX_TURN, turn_out: MAX_TURN };
const RADIANS = Math.PI / 180;

/**
 * @typedef {object} Trajectory
 * @property {object} lens `{preset}` or `{type, ...}`
 * @property {number} width pixels
 * @property {number} height
 * @property {Keyframe[]} keyframes sorted by frame, one a frame at most
 */
/** @typedef {{position: number[], rotation: number[]}} Pose */

/** @returns {Trajectory} */
export function emptyTrajectory() {
  return { lens: { preset: ARIA }, width: 448, height: 448, keyframes: [] };
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isShare = (value) => isNumber(value) && value >= 0 && value <= 1;
const areNumbers = (values, count) => Array.isArray(values) && values.length === count && values.every(isNumber);

const isVector = (values, most) => areNumbers(values, 3) && values.every((value) => Math.abs(value) <= most);

/** @returns {object} the tangents and turns that a key has */
export function slopesOf(key) {
  const names = Object.keys(SLOPES).filter((name) => key[name] != null);
  return Object.fromEntries(names.map((name) => [name, [...key[name]]]));
}

/**
 * Read the widget's text.
 * @param {string | object} given text, or what it parses to
 * @returns {Trajectory}
 * @throws {Error} with a reason the artist can act on
 */
export function readTrajectory(given) {
  const text = typeof given === "string" ? given.trim() : null;
  if (text === "" || given == null) return emptyTrajectory();
  const content = text === null ? given : JSON.parse(text);
  if (content?.format !== FORMAT) throw new Error(`Expected a trajectory with "format": "${FORMAT}".`);
  if (content.version !== VERSION) throw new Error(`Version ${content.version} is unknown here. Update the pack.`);
  const { lens, width, height } = { ...emptyTrajectory(), ...content };
  const isSide = (pixels) => Number.isInteger(pixels) && pixels > 0 && pixels <= MAX_SIDE;
  if (!isSide(width) || !isSide(height)) throw new Error(`The image's width and height must be 1 to ${MAX_SIDE} pixels.`);
  const keyframes = (content.keyframes ?? []).map((entry, number) => {
    const { frame, position, rotation, ease_in = 0, ease_out = 0 } = entry;
    const sound =
      Number.isInteger(frame) && frame >= 0 && frame <= MAX_FRAME && areNumbers(position, 3) && areNumbers(rotation, 4) &&
      position.every((value) => Math.abs(value) <= MAX_DISTANCE) && Math.hypot(...rotation) > 1e-6 &&
      isShare(ease_in) && isShare(ease_out) &&
      Object.entries(SLOPES).every(([name, most]) => entry[name] == null || isVector(entry[name], most));
    if (!sound) throw new Error(`Keyframe ${number} has a number missing or out of range.`);
    return { frame, position: [...position], rotation: unit(rotation), ease_in, ease_out, ...slopesOf(entry) };
  });
  for (let i = 1; i < keyframes.length; i++) {
    if (keyframes[i].frame <= keyframes[i - 1].frame) throw new Error("Keyframes must be sorted, one a frame.");
  }
  return { lens, width, height, keyframes };
}

// A quaternion that is of unit length already stays as it is, bit by bit.
const unit = (q) => (Math.abs(Math.hypot(...q) - 1) > 1e-12 ? quatNormalize(q) : [...q]);

/** @returns {string} the widget's text */
export function writeTrajectory({ lens, width, height, keyframes }) {
  return JSON.stringify({ format: FORMAT, version: VERSION, lens, width, height, keyframes });
}

/**
 * The pose at a frame, which may be a fraction.
 * @param {Keyframe[]} keyframes one at least
 * @param {number} frame
 * @returns {Pose}
 */
export function poseAt(keyframes, frame) {
  const last = keyframes.length - 1;
  if (frame <= keyframes[0].frame || last === 0) return keyframes[0];
  if (frame >= keyframes[last].frame) return keyframes[last];
  let left = 0;
  while (keyframes[left + 1].frame <= frame) left++;
  const [from, to] = [keyframes[left], keyframes[left + 1]];
  const span = to.frame - from.frame;
  const s = hermite((frame - from.frame) / span, 0, 1, 1 - from.ease_out, 1 - to.ease_in);
  const [leaving, arriving] = [tangentOf(keyframes, left, "out"), tangentOf(keyframes, left + 1, "in")];
  const position = [0, 1, 2].map((i) =>
    hermite(s, from.position[i], to.position[i], leaving[i] * span, arriving[i] * span),
  );
  if (!from.turn_out && !to.turn_in) return { position, rotation: slerp(from.rotation, to.rotation, s) };
  const even = evenTurn(from, to);
  const [out, into] = [from.turn_out, to.turn_in].map((turn) => (turn ? scale(turn, RADIANS * span) : even));
  return { position, rotation: hermiteTurn(from.rotation, to.rotation, out, into, s) };
}

// The whole turn from one key to the next, as a rotation vector about the camera's own axes.
const evenTurn = (from, to) => quatToVector(quatMultiply(quatInverse(from.rotation), to.rotation));

/** @returns {number[]} metres a frame at a key, "in" or "out"; without a tangent of its own one-sided at both ends */
export function tangentOf(keyframes, index, side) {
  const own = keyframes[index][`tangent_${side}`];
  if (own) return own;
  const before = keyframes[Math.max(index - 1, 0)];
  const after = keyframes[Math.min(index + 1, keyframes.length - 1)];
  if (after === before) return [0, 0, 0];
  return after.position.map((value, i) => (value - before.position[i]) / (after.frame - before.frame));
}

/** @returns {number[]} degrees a frame about the camera's own axes at a key, "in" or "out"; none before the first and after the last */
export function turnOf(keyframes, index, side) {
  const own = keyframes[index][`turn_${side}`];
  if (own) return own;
  const [from, to] = side === "in" ? [keyframes[index - 1], keyframes[index]] : [keyframes[index], keyframes[index + 1]];
  if (!from || !to) return [0, 0, 0];
  return scale(evenTurn(from, to), 1 / (RADIANS * (to.frame - from.frame)));
}

/** @returns {number[][]} the world-to-camera matrix of a pose, four rows */
export function worldToCamera({ position, rotation }) {
  const m = quatToMatrix(rotation); // camera to world: its columns are the rows here
  const rows = [0, 1, 2].map((i) => [m[i], m[3 + i], m[6 + i]]);
  return [...rows.map((row) => [...row, -(row[0] * position[0] + row[1] * position[1] + row[2] * position[2])]), [0, 0, 0, 1]];
}

// Edits ----------------------------------------------------------------------------------------------------------------

/** @returns {Trajectory} with a key at `frame`; a key that was there keeps its easing and tangents unless `like` has others */
export function withKey(trajectory, frame, pose, like = trajectory.keyframes.find((key) => key.frame === frame)) {
  const { position, rotation } = pose;
  const { ease_in = 0, ease_out = 0 } = like ?? {};
  const made = { frame, position: [...position], rotation: [...rotation], ease_in, ease_out, ...slopesOf(like ?? {}) };
  const others = trajectory.keyframes.filter((other) => other.frame !== frame);
  return { ...trajectory, keyframes: [...others, made].sort((a, b) => a.frame - b.frame) };
}

/** What can be undone: texts of trajectories, oldest first. */
export class History {
  constructor(text) {
    this.reset(text);
  }

  reset(text) {
    this.texts = [text];
    this.index = 0;
  }

  /** Note the text after an edit. */
  push(text) {
    if (text === this.texts[this.index]) return;
    this.texts.splice(this.index + 1, Infinity, text);
    if (this.texts.length > HISTORY) this.texts.shift();
    this.index = this.texts.length - 1;
  }

  /** @returns {string | null} the text `steps` away (-1 undoes, 1 redoes), or null where there is none */
  go(steps) {
    const text = this.texts[this.index + steps];
    if (text === undefined) return null;
    this.index += steps;
    return text;
  }
}
