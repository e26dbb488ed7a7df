// Lens presets of the ego view. Their numbers come with the node's answer (`lenses`), from geometry/cameras/presets.py.

import { makeLens } from "./lens.js";

const RELEASE_SIZE = 448; // pixels: the square picture that the answer's lenses are made for

export const ARIA = "EgoX release (Aria RGB)";
export const PINHOLE = "pinhole";
/** Names as the trajectory's text has them. */
export const PRESETS = [ARIA, "EgoX script default", PINHOLE];
/** Degrees: the horizontal field of view of the pinhole preset. */
export const PINHOLE_FOV = 90;

/** @returns {object} JSON of a pinhole with square pixels, a centered axis and a horizontal field of view in degrees */
export function pinholeOfFov(degrees, width, height) {
  const focal = (0.5 * width) / Math.tan((degrees * Math.PI) / 360);
  return { type: "pinhole", fx: focal, fy: focal, cx: width / 2, cy: height / 2 };
}

/** @returns {number} the horizontal field of view of a pinhole in degrees */
export function fovOf(json, width) {
  return (360 / Math.PI) * Math.atan((0.5 * width) / json.fx);
}

/**
 * Make the lens that a trajectory names or holds.
 * @param {object} lens `{preset: name}` or `{type, ...numbers}`
 * @param {number} width pixels of the ego picture
 * @param {number} height
 * @param {Record<string, object>} lenses the presets' numbers; before the first run there are none, and nothing to see
 *     through them: a pinhole stands in
 * @returns {import("./lens.js").Lens}
 * @throws {Error} for a lens that is none
 */
export function lensOf(lens, width, height, lenses = {}) {
  if (lens.type) return makeLens(lens);
  if (!PRESETS.includes(lens.preset)) throw new Error(`There is no lens preset ${JSON.stringify(lens.preset)}.`);
  const known = lenses[lens.preset];
  if (lens.preset === PINHOLE || !known) return makeLens(pinholeOfFov(PINHOLE_FOV, width, height));
  const side = Math.min(width, height);
  const scaled = makeLens(known).scaled(side / RELEASE_SIZE).json;
  return makeLens({ ...scaled, cx: scaled.cx + (width - side) / 2, cy: scaled.cy + (height - side) / 2 });
}

/** @returns {object} `{preset: name}` where a lens is one of the presets to the last digit, else the lens as it is */
export function namedLens(lens, width, height, lenses) {
  const numbers = (json) => JSON.stringify(Object.entries(json).sort());
  const wanted = numbers(lens);
  const preset = PRESETS.find((name) => numbers(lensOf({ preset: name }, width, height, lenses).json) === wanted);
  return preset ? { preset } : lens;
}
