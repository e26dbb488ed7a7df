// Vectors, quaternions and the curves between keyframes. The same formulas as geometry/cameras/trajectory.py.
//
// Vectors are arrays [x, y, z] in metres, quaternions [w, x, y, z]. Axes are OpenCV's: x right, y down, z forward.

/** @typedef {number[]} Vec3 */
/** @typedef {number[]} Quat [w, x, y, z] of unit length, camera to world */

export const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const scale = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const length = (a) => Math.hypot(a[0], a[1], a[2]);
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Sum of vectors times numbers: `along(p, d, 2, e, 3)` is p + 2 d + 3 e. */
export function along(start, ...terms) {
  let [x, y, z] = start;
  for (let i = 0; i < terms.length; i += 2) {
    x += terms[i][0] * terms[i + 1];
    y += terms[i][1] * terms[i + 1];
    z += terms[i][2] * terms[i + 1];
  }
  return [x, y, z];
}

/** @returns {Vec3} of length 1, or `otherwise` where the vector is next to zero */
export function normalize(a, otherwise = [0, 0, 1]) {
  const size = length(a);
  return size > 1e-12 ? scale(a, 1 / size) : [...otherwise];
}

/** @returns {Vec3} the part of `a` at right angles to the unit vector `n` */
export const without = (a, n) => along(a, n, -dot(a, n));

/** @returns {Quat} */
export function quatNormalize(q) {
  const size = Math.hypot(q[0], q[1], q[2], q[3]);
  return [q[0] / size, q[1] / size, q[2] / size, q[3] / size];
}

/** @returns {Quat} first `b`, then `a` */
export function quatMultiply(a, b) {
  return [
    a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
    a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
    a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
    a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
  ];
}

/** @returns {Quat} a right-handed turn about a unit axis, radians */
export function quatAbout(axis, angle) {
  const s = Math.sin(angle / 2);
  return [Math.cos(angle / 2), axis[0] * s, axis[1] * s, axis[2] * s];
}

/** @returns {number[]} the rotation matrix, nine numbers row by row; its columns are the axes x, y, z */
export function quatToMatrix([w, x, y, z]) {
  return [
    1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
    2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
    2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
  ];
}

/** @returns {{right: Vec3, down: Vec3, forward: Vec3}} the camera's axes in the world */
export function quatAxes(q) {
  const m = quatToMatrix(q);
  return { right: [m[0], m[3], m[6]], down: [m[1], m[4], m[7]], forward: [m[2], m[5], m[8]] };
}

/** @returns {Quat} of a rotation matrix (nine numbers, row by row) */
export function matrixToQuat(m) {
  const squares = [
    1 + m[0] + m[4] + m[8], 1 + m[0] - m[4] - m[8], 1 - m[0] + m[4] - m[8], 1 - m[0] - m[4] + m[8],
  ];
  const largest = squares.indexOf(Math.max(...squares)); // 4 w^2, 4 x^2, 4 y^2 or 4 z^2
  const rows = [
    [squares[0], m[7] - m[5], m[2] - m[6], m[3] - m[1]],
    [m[7] - m[5], squares[1], m[1] + m[3], m[2] + m[6]],
    [m[2] - m[6], m[1] + m[3], squares[2], m[5] + m[7]],
    [m[3] - m[1], m[2] + m[6], m[5] + m[7], squares[3]],
  ];
  return quatNormalize(rows[largest]);
}

/** @returns {Quat} of the axes of a camera */
export function axesToQuat(right, down, forward) {
  return matrixToQuat([right[0], down[0], forward[0], right[1], down[1], forward[1], right[2], down[2], forward[2]]);
}

/**
 * The rotation that looks along `forward` and stands upright.
 * @param {Vec3} forward need not be of unit length
 * @param {Vec3} up unit
 * @param {number} roll clockwise as the eye sees it, radians
 * @returns {Quat}
 */
export function lookAlong(forward, up, roll = 0) {
  const z = normalize(forward);
  let x = cross(z, up); // forward x up is right where y points down
  if (length(x) < 1e-6) x = cross(z, Math.abs(z[2]) < 0.9 ? [0, 0, 1] : [1, 0, 0]);
  x = normalize(x);
  const upright = axesToQuat(x, cross(z, x), z);
  return roll ? quatMultiply(upright, quatAbout([0, 0, 1], roll)) : upright;
}

/** @returns {Quat} the turn at share `s` of the shorter arc */
export function slerp(a, b, s) {
  const product = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
  const sign = product < 0 ? -1 : 1;
  // Exact for any arc: the half angle from the chord, which arccos loses for short ones.
  const chord = Math.hypot(a[0] - sign * b[0], a[1] - sign * b[1], a[2] - sign * b[2], a[3] - sign * b[3]);
  const angle = 2 * Math.asin(Math.min(1, chord / 2));
  let [from, to] = [1 - s, s];
  if (angle > 1e-9) {
    from = Math.sin((1 - s) * angle) / Math.sin(angle);
    to = Math.sin(s * angle) / Math.sin(angle);
  }
  to *= sign;
  return quatNormalize([0, 1, 2, 3].map((i) => from * a[i] + to * b[i]));
}

/** @returns {Quat} of a rotation vector: axis times angle, radians */
export function vectorToQuat(v) {
  const angle = length(v);
  const share = angle < 1e-8 ? 0.5 : Math.sin(angle / 2) / angle;
  return [Math.cos(angle / 2), v[0] * share, v[1] * share, v[2] * share];
}

/** @returns {Vec3} the rotation vector, at most pi long, of a unit quaternion */
export function quatToVector(q) {
  const [w, x, y, z] = q[0] < 0 ? q.map((value) => -value) : q;
  const sine = Math.hypot(x, y, z);
  return scale([x, y, z], sine < 1e-8 ? 2 : (2 * Math.atan2(sine, w)) / sine);
}

/** @returns {Quat} the opposite turn of a unit quaternion */
export const quatInverse = ([w, x, y, z]) => [w, -x, -y, -z];

/**
 * A smooth turn with given speeds at both ends: Kim, Kim and Shin's Hermite quaternion curve (SIGGRAPH 1995). Where both
 * speeds are those of the even turn it is the slerp.
 * @param {Quat} a
 * @param {Quat} b
 * @param {Vec3} leaving rotation vector a unit of `s`, about the axes at `a`
 * @param {Vec3} arriving likewise, at `b`
 * @param {number} s 0 to 1
 * @returns {Quat}
 */
export function hermiteTurn(a, b, leaving, arriving, s) {
  const first = scale(leaving, 1 / 3);
  const last = scale(arriving, 1 / 3);
  const start = quatMultiply(a, vectorToQuat(first));
  const middle = quatToVector(quatMultiply(quatInverse(start), quatMultiply(b, quatInverse(vectorToQuat(last)))));
  const left = 1 - s;
  const shares = [1 - left * left * left, s * s * (3 - 2 * s), s * s * s];
  const turned = [first, middle, last].reduce((q, v, i) => quatMultiply(q, vectorToQuat(scale(v, shares[i]))), a);
  return quatNormalize(turned);
}

/** @returns {number} the cubic with given values and slopes at s = 0 and s = 1 */
export function hermite(s, start, end, leaving, arriving) {
  const square = s * s;
  const cube = square * s;
  const atEnd = 3 * square - 2 * cube;
  return (1 - atEnd) * start + atEnd * end + (cube - 2 * square + s) * leaving + (cube - square) * arriving;
}
