// Where the ground is and which way is up: the plane that eye height, roll and the grid count from.

import { rangesOf } from "./cloud.js";
import { along, cross, dot, length, normalize, quatAxes, quatToMatrix, matrixToQuat, sub, without } from "./math.js";

const SAMPLES = 4000; // points looked at
const TRIALS = 400; // planes tried
const STEEPEST = Math.cos((55 * Math.PI) / 180); // how far the exo camera may be tilted
const TOLERANCE = 0.012; // of the median distance from the exo camera
const BELOW_COSTS = 2; // inliers that a point below the plane outweighs
const LEAST_SHARE = 0.04; // of the points, for a plane to count as ground

/**
 * @typedef {object} Ground
 * @property {number[]} up unit
 * @property {number[]} point on the ground, below the exo camera
 * @property {number[]} right unit, in the ground
 * @property {number[]} forward unit, in the ground: where the exo camera looks
 * @property {boolean} found whether it was seen in the cloud; else it lies below the lowest points
 */

/**
 * Find the ground by trying planes through three points (RANSAC, with a fixed seed).
 * @param {import("./cloud.js").Cloud} cloud
 * @param {import("./trajectory.js").Pose} exo
 * @returns {Ground}
 */
export function findGround(cloud, exo) {
  const points = sampled(cloud);
  const exoUp = quatAxes(exo.rotation).down.map((value) => -value);
  const distances = points.map((point) => length(sub(point, exo.position))).sort((a, b) => a - b);
  const tolerance = TOLERANCE * distances[distances.length >> 1];
  const random = generator(7);
  let best = { score: LEAST_SHARE * points.length };
  for (let trial = 0; trial < TRIALS; trial++) {
    const [a, b, c] = [0, 0, 0].map(() => points[Math.floor(random() * points.length)]);
    let up = normalize(cross(sub(b, a), sub(c, a)), exoUp);
    if (dot(up, exoUp) < 0) up = up.map((value) => -value);
    if (dot(up, exoUp) < STEEPEST || dot(up, sub(exo.position, a)) <= 0) continue;
    let score = 0;
    for (const point of points) {
      const height = dot(up, point) - dot(up, a);
      if (Math.abs(height) < tolerance) score += 1;
      else if (height < -2 * tolerance) score -= BELOW_COSTS;
    }
    if (score > best.score) best = { score, up, height: dot(up, a) };
  }
  if (best.up) return groundOf(refined(points, best, tolerance), exo, true);
  const heights = points.map((point) => dot(exoUp, point)).sort((a, b) => a - b);
  return groundOf({ up: exoUp, height: heights[Math.floor(0.02 * heights.length)] }, exo, false);
}

/** @returns {Ground} where there is no cloud yet: 1.6 m below the exo camera */
export function assumedGround(exo) {
  const up = quatAxes(exo.rotation).down.map((value) => -value);
  return groundOf({ up, height: dot(up, exo.position) - 1.6 }, exo, false);
}

function groundOf({ up, height }, exo, found) {
  const forward = normalize(without(quatAxes(exo.rotation).forward, up), quatAxes(exo.rotation).down);
  const point = along(exo.position, up, height - dot(up, exo.position));
  return { up, point, forward, right: cross(forward, up), found };
}

function sampled(cloud) {
  const points = [];
  for (const [start, end] of rangesOf(cloud, 0)) {
    const step = Math.max(1, (end - start) / SAMPLES);
    for (let at = start; at < end; at += step) {
      const i = 3 * Math.floor(at);
      points.push([cloud.positions[i], cloud.positions[i + 1], cloud.positions[i + 2]]);
    }
  }
  return points;
}

// The least-squares plane of the inliers: height over the plane as a linear function of two axes within it.
function refined(points, plane, tolerance) {
  for (let round = 0; round < 3; round++) {
    const { up, height } = plane;
    const x = normalize(cross(up, Math.abs(up[0]) < 0.7 ? [1, 0, 0] : [0, 0, 1]));
    const y = cross(up, x);
    const inliers = points.filter((point) => Math.abs(dot(up, point) - height) < tolerance);
    const middle = inliers.reduce((sum, point) => along(sum, point, 1 / inliers.length), [0, 0, 0]);
    let [xx, xy, yy, xh, yh] = [0, 0, 0, 0, 0];
    for (const point of inliers) {
      const off = sub(point, middle);
      const [u, v, h] = [dot(off, x), dot(off, y), dot(off, up)];
      xx += u * u; xy += u * v; yy += v * v; xh += u * h; yh += v * h;
    }
    const determinant = xx * yy - xy * xy;
    if (!(determinant > 1e-12)) return plane;
    const tilted = normalize(along(up, x, -(xh * yy - yh * xy) / determinant, y, -(yh * xx - xh * xy) / determinant));
    plane = { up: tilted, height: dot(tilted, middle) };
  }
  return plane;
}

// Mulberry32: the same planes are tried on every visit.
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** @returns {number} metres above the ground */
export const heightOver = (ground, position) => dot(ground.up, sub(position, ground.point));

/** @returns {number[]} the position moved straight up or down to a height above the ground */
export const atHeight = (ground, position, height) => along(position, ground.up, height - heightOver(ground, position));

// The ground's frame as a matrix: x right, y down, z forward.
const basis = ({ right, up, forward }) => [
  right[0], -up[0], forward[0], right[1], -up[1], forward[1], right[2], -up[2], forward[2],
];

/**
 * Angles of a camera over the ground, as geometry/cameras/settings.py has them in the world.
 * @returns {number[]} yaw (right), pitch (up) and roll (clockwise as the eye sees it), degrees
 */
export function anglesOf(ground, rotation) {
  const g = basis(ground);
  const r = quatToMatrix(rotation);
  const at = (row, column) => g[row] * r[column] + g[3 + row] * r[3 + column] + g[6 + row] * r[6 + column];
  const degrees = 180 / Math.PI;
  const pitch = Math.asin(Math.min(1, Math.max(-1, -at(1, 2))));
  if (Math.cos(pitch) < 1e-6) return [Math.atan2(-at(2, 0), at(0, 0)) * degrees, pitch * degrees, 0]; // straight up or down
  return [Math.atan2(at(0, 2), at(2, 2)), pitch, Math.atan2(at(1, 0), at(1, 1))].map((angle) => angle * degrees);
}

/** @returns {number[]} the rotation of angles in degrees; the inverse of `anglesOf` */
export function rotationOf(ground, [yaw, pitch, roll]) {
  const [y, p, r] = [yaw, pitch, roll].map((angle) => (angle * Math.PI) / 180);
  const [cy, sy, cp, sp, cr, sr] = [Math.cos(y), Math.sin(y), Math.cos(p), Math.sin(p), Math.cos(r), Math.sin(r)];
  const local = [
    cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, sy * cp,
    cp * sr, cp * cr, -sp,
    -sy * cr + cy * sp * sr, sy * sr + cy * sp * cr, cy * cp,
  ];
  const g = basis(ground);
  const product = [0, 1, 2].flatMap((row) =>
    [0, 1, 2].map((column) =>
      g[3 * row] * local[column] + g[3 * row + 1] * local[3 + column] + g[3 * row + 2] * local[6 + column],
    ),
  );
  return matrixToQuat(product);
}
