// Lenses: how a point of the camera frame becomes a pixel, and back. The same formulas as geometry/lenses/, a file each.
//
// Camera frame: OpenCV axes. Pixels are (column, row) with centers at +0.5.

import { BrownConradyLens } from "./lenses/brown_conrady.js";
import { Fisheye624Lens } from "./lenses/fisheye624.js";
import { OpenCVFisheyeLens } from "./lenses/opencv_fisheye.js";
import { PinholeLens } from "./lenses/pinhole.js";

/**
 * A lens that projects without making garbage. Its class states `type`, its name in files, `numbers`, the names of its
 * single numbers, and `lists`, those of its lists with their lengths.
 * @typedef {object} Lens
 * @property {object} json what the trajectory stores: type and numbers in pixels
 * @property {number} maxAngle radians off the axis up to which the lens sees
 * @property {number} focal pixels: the focal length along the rows
 * @property {boolean} isFlat whether its picture is drawn as a plane: nothing it sees lies far off the axis
 * @property {(x: number, y: number, z: number, out: Float64Array) => boolean} project writes column and row into `out`;
 *     false for points that the lens does not see
 * @property {(column: number, row: number) => number[]} unproject the unit ray of a pixel
 * @property {(factor: number) => Lens} scaled the lens of the picture resized by a factor
 */

const KINDS = new Map([PinholeLens, Fisheye624Lens, OpenCVFisheyeLens, BrownConradyLens].map((kind) => [kind.type, kind]));

/**
 * Make the lens of a JSON object, as a trajectory or a camera holds it.
 * @param {object} json `{type: name, ...}` in pixels
 * @returns {Lens}
 * @throws {Error} for another type or a number that is missing
 */
export function makeLens(json) {
  const kind = KINDS.get(json.type);
  if (!kind) throw new Error(`Expected a lens of type ${[...KINDS.keys()].join(" or ")}, got ${json.type}.`);
  const numbers = kind.numbers.map((name) => json[name]);
  const filled = { ...json };
  for (const [name, count] of Object.entries(kind.lists)) {
    filled[name] = json[name] ?? new Array(count).fill(0);
    if (filled[name].length !== count) throw new Error(`A lens of type ${json.type} has ${count} ${name} coefficients.`);
    numbers.push(...filled[name]);
  }
  if (!numbers.every(Number.isFinite)) throw new Error("A number of the lens is missing or not finite.");
  return new kind(filled);
}
