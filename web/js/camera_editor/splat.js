// Point splatting with a z-buffer into typed arrays: no canvas needed, so that the tests run it under node.
//
// Nothing is allocated while drawing; `resize` makes the buffers.

import { rangesOf } from "./cloud.js";
import { quatToMatrix } from "./math.js";

/** EgoX's release: discs of 5 px in a picture of 448 rows (geometry/points/renderer.py). */
const RELEASE_RADIUS = 5;
const RELEASE_HEIGHT = 448;
export const LARGEST_SQUARE = 7; // pixels

/** @returns {number} pixels; where only every `step`th point is drawn its disc covers for those that are left out */
export const discRadius = (height, step = 1) => (RELEASE_RADIUS * height * Math.sqrt(step)) / RELEASE_HEIGHT;

export class Splatter {
  /** @param {number} width pixels */
  constructor(width = 1, height = 1) {
    this.width = 0;
    this.pixel = new Float64Array(2);
    this.resize(width, height);
  }

  /** Make buffers of a size; the same size keeps them. */
  resize(width, height) {
    if (width === this.width && height === this.height) return;
    this.width = width;
    this.height = height;
    this.bytes = new Uint8ClampedArray(4 * width * height);
    this.pixels = new Uint32Array(this.bytes.buffer); // RGBA, little endian; 0 is transparent
    this.depth = new Float32Array(width * height); // z in metres
  }

  clear() {
    this.pixels.fill(0);
    this.depth.fill(Infinity);
  }

  /** @returns {boolean} whether everything can be drawn in full while something moves */
  get isQuick() {
    return false;
  }

  /** Bring what was drawn into `bytes`. */
  finish() {}

  /** @returns {number} the share of pixels that any point touches, 0 to 1 */
  coverage() {
    let covered = 0;
    for (let i = 0; i < this.depth.length; i++) if (this.depth[i] < Infinity) covered++;
    return covered / this.depth.length;
  }

  /**
   * Draw a frame of a cloud as the renderer does: hard discs, the point of smallest z wins.
   * @param {import("./cloud.js").Cloud} cloud
   * @param {number} frame
   * @param {import("./trajectory.js").Pose} pose of the camera
   * @param {import("./lens.js").Lens} lens of a picture of this splatter's size
   * @param {number} step 1 draws every point, 2 every second
   * @param {number} near metres around the camera in which no point is drawn
   */
  drawDiscs(cloud, frame, pose, lens, step = 1, near = 0) {
    const radius = discRadius(this.height, step);
    const m = quatToMatrix(pose.rotation);
    const [px, py, pz] = pose.position;
    const { positions, colors, reach } = cloud;
    const { pixel, width, height } = this;
    for (const [start, end] of rangesOf(cloud, frame)) {
      for (let i = start; i < end; i += step) {
        const x = positions[3 * i] - px;
        const y = positions[3 * i + 1] - py;
        const z = positions[3 * i + 2] - pz;
        const deep = m[2] * x + m[5] * y + m[8] * z;
        if (!(deep > 0) || x * x + y * y + z * z < near * near) continue;
        if (!lens.project(m[0] * x + m[3] * y + m[6] * z, m[1] * x + m[4] * y + m[7] * z, deep, pixel)) continue;
        const column = pixel[0];
        const row = pixel[1];
        if (column > -radius && column < width + radius && row > -radius && row < height + radius) {
          this.#disc(column - 0.5, row - 0.5, Math.fround(deep), radius * reach[i], colors[i]);
        }
      }
    }
  }

  // A pixel belongs to a disc if its center is nearer than the radius. `x`, `y` count from the first pixel's center.
  #disc(x, y, z, radius, color) {
    const { width, depth, pixels } = this;
    const square = radius * radius;
    const bottom = Math.min(this.height - 1, Math.floor(y + radius));
    for (let row = Math.max(0, Math.ceil(y - radius)); row <= bottom; row++) {
      const half = Math.sqrt(square - (row - y) * (row - y));
      const end = row * width + Math.min(width - 1, Math.floor(x + half));
      for (let at = row * width + Math.max(0, Math.ceil(x - half)); at <= end; at++) {
        if (z < depth[at]) {
          depth[at] = z;
          pixels[at] = color;
        }
      }
    }
  }

  /**
   * Draw points as squares through a pinhole in the middle of the picture: the quick way, for looking around.
   * @param {Float32Array} positions
   * @param {Uint32Array} colors
   * @param {number} start first point
   * @param {number} end one past the last
   * @param {{eye: number[], right: number[], down: number[], forward: number[]}} view
   * @param {number} focal pixels
   * @param {number} spacing metres between neighbouring points; squares grow to it, 7 pixels at most
   */
  drawSquares(positions, colors, start, end, view, focal, spacing) {
    const { width, height, depth, pixels } = this;
    const [ex, ey, ez] = view.eye;
    const [rx, ry, rz] = view.right;
    const [dx, dy, dz] = view.down;
    const [fx, fy, fz] = view.forward;
    const [cx, cy] = [width / 2, height / 2];
    for (let i = start; i < end; i++) {
      const x = positions[3 * i] - ex;
      const y = positions[3 * i + 1] - ey;
      const z = positions[3 * i + 2] - ez;
      const deep = fx * x + fy * y + fz * z;
      if (deep < 0.02) continue;
      const near = focal / deep;
      const side = Math.min(LARGEST_SQUARE, 1 + Math.floor(near * spacing));
      const column = Math.floor(near * (rx * x + ry * y + rz * z) + cx - (side - 1) / 2);
      const row = Math.floor(near * (dx * x + dy * y + dz * z) + cy - (side - 1) / 2);
      if (column <= -side || row <= -side || column >= width || row >= height) continue;
      const right = Math.min(width, column + side);
      const bottom = Math.min(height, row + side);
      for (let v = Math.max(0, row); v < bottom; v++) {
        const line = v * width;
        for (let u = Math.max(0, column); u < right; u++) {
          if (deep < depth[line + u]) {
            depth[line + u] = deep;
            pixels[line + u] = colors[i];
          }
        }
      }
    }
  }
}

/**
 * The point of a cloud under the pointer.
 * @param {import("./cloud.js").Cloud} cloud
 * @param {number} frame
 * @param {(point: number[], out: number[]) => number} project writes column and row into `out`, returns z (0: unseen)
 * @param {number} column
 * @param {number} row
 * @param {number} radius how far from the pointer a point may be, pixels
 * @returns {number[] | null} the nearest to the eye of those, metres
 */
export function pickPoint(cloud, frame, project, column, row, radius) {
  const out = [0, 0];
  let best = null;
  let bestDepth = Infinity;
  const point = [0, 0, 0];
  for (const [start, end] of rangesOf(cloud, frame)) {
    for (let i = start; i < end; i++) {
      for (let axis = 0; axis < 3; axis++) point[axis] = cloud.positions[3 * i + axis];
      const z = project(point, out);
      if (!(z > 0)) continue;
      const off = Math.hypot(out[0] - column, out[1] - row);
      // Off the pointer counts a little, so that of one surface the point below the pointer is taken.
      const cost = z * (1 + (0.05 * off) / radius);
      if (off <= radius && cost < bestDepth) {
        bestDepth = cost;
        best = [...point];
      }
    }
  }
  return best;
}
