// The six curves of a camera: position x, y, z and the angles over the ground. Values are metres and degrees, slopes a frame.

import { AXES, EGO } from "../canvas_view.js";
import { anglesOf, rotationOf } from "../ground.js";
import { add, clamp, quatInverse, quatMultiply, quatToVector, scale } from "../math.js";
import { poseAt, SLOPES, tangentOf, turnOf } from "../trajectory.js";

const DEGREES = 180 / Math.PI;
const STEP = 1e-4; // of a frame: for the slope of an angle
const MOST_PITCH = 89.5; // degrees

/**
 * @typedef {object} Channel
 * @property {string} name
 * @property {string} color
 * @property {"m" | "°"} unit
 * @property {number} index of the position's or of the angles' three
 */

/** @type {Channel[]} */
export const CHANNELS = [
  { name: "x", color: AXES.right, unit: "m", index: 0 },
  { name: "y", color: AXES.up, unit: "m", index: 1 },
  { name: "z", color: AXES.forward, unit: "m", index: 2 },
  { name: "yaw", color: EGO, unit: "°", index: 0 },
  { name: "pitch", color: "#e07bd0", unit: "°", index: 1 },
  { name: "roll", color: "#c8c8c8", unit: "°", index: 2 },
];

const isAngle = (channel) => channel.unit === "°";

/** @returns {number} the value of a channel for a pose */
export const valueOf = (channel, pose, ground) =>
  isAngle(channel) ? anglesOf(ground, pose.rotation)[channel.index] : pose.position[channel.index];

/** @returns {number[]} the values with no jump of a whole turn between neighbors */
export function unwound(values) {
  let turns = 0;
  return values.map((value, i) => {
    if (i) turns -= Math.round((value - values[i - 1]) / 360);
    return value + 360 * turns;
  });
}

/** @returns {object} a pose with a channel's value changed by an amount */
export function withValue(channel, pose, ground, by) {
  if (!isAngle(channel)) return { ...pose, position: pose.position.map((value, i) => value + (i === channel.index ? by : 0)) };
  const angles = anglesOf(ground, pose.rotation);
  angles[channel.index] += by;
  angles[1] = clamp(angles[1], -MOST_PITCH, MOST_PITCH);
  return { ...pose, rotation: rotationOf(ground, angles) };
}

/** @returns {number} the slope of a channel at a key, "in" or "out", a frame */
export function slopeOf(channel, keyframes, index, side, ground) {
  const key = keyframes[index];
  const even = 1 - key[`ease_${side}`];
  if (!isAngle(channel)) return even * tangentOf(keyframes, index, side)[channel.index];
  return even * ratesOf(key, turnOf(keyframes, index, side), ground)[channel.index];
}

/**
 * Give a key a slope of its own.
 * @param {boolean} both sides, so that the curve has no bend there
 * @returns {object} the key; a side with a slope of its own has no easing
 */
export function withSlope(channel, keyframes, index, side, ground, slope, both) {
  const key = { ...keyframes[index] };
  const name = isAngle(channel) ? "turn" : "tangent";
  let own;
  if (isAngle(channel)) {
    const rates = ratesOf(key, turnOf(keyframes, index, side), ground);
    rates[channel.index] = slope;
    own = turnWith(key, rates, ground);
  } else {
    own = [...tangentOf(keyframes, index, side)];
    own[channel.index] = slope;
  }
  for (const one of both ? ["in", "out"] : [side]) {
    key[`${name}_${one}`] = own.map((value) => clamp(value, -SLOPES[`${name}_${one}`], SLOPES[`${name}_${one}`]));
    key[`ease_${one}`] = 0;
  }
  return key;
}

// How fast yaw, pitch and roll change, degrees a frame, for a turn about the camera's own axes: `turnWith` inverted.
function ratesOf(key, turn, ground) {
  const columns = [0, 1, 2].map((index) => turnWith(key, [0, 1, 2].map((i) => (i === index ? 1 : 0)), ground));
  const [a, b, c] = columns;
  const determinant = det(a, b, c);
  if (Math.abs(determinant) < 1e-9) return [0, 0, 0]; // straight up or down
  return [det(turn, b, c), det(a, turn, c), det(a, b, turn)].map((value) => value / determinant);
}

const det = (a, b, c) =>
  a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);

function turnWith(key, rates, ground) {
  const angles = anglesOf(ground, key.rotation);
  const at = (share) => rotationOf(ground, add(angles, scale(rates, share * STEP)));
  return scale(quatToVector(quatMultiply(quatInverse(at(-1)), at(1))), DEGREES / (2 * STEP));
}

/** @returns {number[]} a channel's values at frames, which may be fractions */
export function valuesAt(channel, keyframes, frames, ground) {
  const values = frames.map((frame) => valueOf(channel, poseAt(keyframes, frame), ground));
  return isAngle(channel) ? unwound(values) : values;
}

/** @returns {object} a key without slopes of its own */
export function withoutSlopes(key) {
  const plain = { ...key };
  for (const name of Object.keys(SLOPES)) delete plain[name];
  return plain;
}

/** @returns {object} a key at which the camera comes to rest */
export function flat(key) {
  return { ...key, ease_in: 0, ease_out: 0, ...Object.fromEntries(Object.keys(SLOPES).map((name) => [name, [0, 0, 0]])) };
}
