// Fewer and smoother keys within a tolerance: for cameras that have a key in every frame, such as those taken from a head.

import { add, along, clamp, hermite, length, quatInverse, quatMultiply, quatToVector, scale, slerp, sub } from "../math.js";
import { poseAt, SLOPES, tangentOf } from "../trajectory.js";

const DEGREES = 180 / Math.PI;
const FITS = 3; // of the turns: each mends what the one before left
const PRUNED = 400; // frames: for longer clips, keys are not tried one by one for being needed
const ROUNDS = 8; // of smoothing

/** @typedef {import("../trajectory.js").Keyframe} Keyframe */
/** @typedef {{metres: number, degrees: number}} Tolerance how far a camera may be from what it was, at every frame */

/**
 * How far two poses are from each other.
 * @returns {{metres: number, degrees: number}}
 */
export function offOf(a, b) {
  return { metres: length(sub(a.position, b.position)), degrees: DEGREES * length(turnFrom(b.rotation, a.rotation)) };
}

const turnFrom = (from, to) => quatToVector(quatMultiply(quatInverse(from), to));
const shareOf = (off, { metres, degrees }) => Math.max(off.metres / metres, off.degrees / degrees);

/** @returns {{metres: number, degrees: number}} the farthest that some keys are from others, over the frames of both */
export function farthest(keyframes, others) {
  const worst = { metres: 0, degrees: 0 };
  const last = Math.max(keyframes.at(-1).frame, others.at(-1).frame);
  for (let frame = Math.min(keyframes[0].frame, others[0].frame); frame <= last; frame++) {
    const off = offOf(poseAt(keyframes, frame), poseAt(others, frame));
    worst.metres = Math.max(worst.metres, off.metres);
    worst.degrees = Math.max(worst.degrees, off.degrees);
  }
  return worst;
}

/**
 * As few keys as it takes, with tangents and turns of their own. Keys are set where the curve is farthest off, until it is
 * within the tolerance at every frame; then those go that are not needed any more.
 * @param {Keyframe[]} keyframes
 * @param {Tolerance} tolerance
 * @returns {Keyframe[]} their poses are those of the given curve; as given where that has no more keys
 */
export function thinned(keyframes, tolerance) {
  if (keyframes.length < 3) return keyframes;
  const first = keyframes[0].frame;
  const wanted = [];
  for (let frame = first; frame <= keyframes.at(-1).frame; frame++) {
    const { position, rotation } = poseAt(keyframes, frame);
    wanted.push({ frame, position, rotation });
  }
  const shares = (keys) => wanted.map((pose) => shareOf(offOf(poseAt(keys, pose.frame), pose), tolerance));
  let chosen = [0, wanted.length - 1];
  let made;
  for (;;) {
    made = fitted(wanted, chosen);
    const off = shares(made);
    const more = chosen.slice(1).map((end, i) => worstOf(off, chosen[i] + 1, end)).filter((at) => at !== null);
    if (!more.length) break;
    chosen = [...chosen, ...more].sort((a, b) => a - b);
    if (chosen.length >= keyframes.length) return keyframes;
  }
  for (let i = 1; wanted.length <= PRUNED && i < chosen.length - 1; ) {
    const fewer = chosen.toSpliced(i, 1);
    const without = fitted(wanted, fewer);
    if (shares(without).every((share) => share <= 1)) [chosen, made] = [fewer, without];
    else i++;
  }
  return made;
}

// The place with the largest share over 1 in [start, end), or null.
function worstOf(shares, start, end) {
  let best = null;
  for (let i = start; i < end; i++) if (shares[i] > (best === null ? 1 : shares[best])) best = i;
  return best;
}

// Keys at the chosen frames, with the tangents and turns that bring the curve nearest to all frames between (least squares).
function fitted(wanted, chosen) {
  const keys = chosen.map((at) => ({ ...wanted[at], ease_in: 0, ease_out: 0 }));
  const matrix = new Normal(chosen);
  const missing = matrix.solved(wanted, (pose) => sub(pose.position, poseAt(keys, pose.frame).position));
  const tangents = keys.map((_, i) => limited(add(tangentOf(keys, i, "in"), missing[i]), SLOPES.tangent_in));
  keys.forEach((key, i) => (key.tangent_in = key.tangent_out = tangents[i]));
  let turns = keys.map((_, i) => {
    const [before, after] = [keys[Math.max(i - 1, 0)], keys[Math.min(i + 1, keys.length - 1)]];
    return scale(turnFrom(before.rotation, after.rotation), DEGREES / (after.frame - before.frame));
  });
  for (let fit = 0; ; fit++) {
    keys.forEach((key, i) => (key.turn_in = key.turn_out = limited(turns[i], SLOPES.turn_in)));
    if (fit === FITS) return keys;
    const left = matrix.solved(wanted, (pose) => scale(turnFrom(poseAt(keys, pose.frame).rotation, pose.rotation), DEGREES));
    turns = turns.map((turn, i) => add(turn, left[i]));
  }
}

const limited = (slope, most) => slope.map((value) => clamp(value, -most, most));

/**
 * The keys moved towards the line between their neighbors: noise goes, and no key leaves its place by more than the tolerance.
 * @param {Keyframe[]} keyframes
 * @param {Tolerance} tolerance
 * @returns {Keyframe[]} the first and the last as they were
 */
export function smoothed(keyframes, tolerance) {
  let keys = keyframes;
  for (let round = 0; round < ROUNDS; round++) {
    keys = keys.map((key, i) => {
      const [before, after] = [keys[i - 1], keys[i + 1]];
      if (!before || !after) return key;
      const share = (key.frame - before.frame) / (after.frame - before.frame);
      const position = along(scale(key.position, 0.5), before.position, (1 - share) / 2, after.position, share / 2);
      const rotation = slerp(key.rotation, slerp(before.rotation, after.rotation, share), 0.5);
      return { ...key, ...near(keyframes[i], { position, rotation }, tolerance) };
    });
  }
  return keys;
}

// The pose, or where the way to it leaves the tolerance around another.
function near(home, { position, rotation }, { metres, degrees }) {
  const off = offOf(home, { position, rotation });
  const [way, turn] = [Math.min(1, metres / (off.metres || 1)), Math.min(1, degrees / (off.degrees || 1))];
  return {
    position: off.metres > metres ? along(home.position, sub(position, home.position), way) : position,
    rotation: off.degrees > degrees ? slerp(home.rotation, rotation, turn) : rotation,
  };
}

/** The normal equations for one slope a key, of all the frames between: they are tridiagonal. */
class Normal {
  constructor(chosen) {
    this.chosen = chosen;
    this.rows = chosen.map(() => [0, 0, 0]); // before, at and after the key
    this.each((i, leaving, arriving) => {
      this.rows[i][1] += leaving * leaving;
      this.rows[i][2] += leaving * arriving;
      this.rows[i + 1][0] += leaving * arriving;
      this.rows[i + 1][1] += arriving * arriving;
    });
  }

  // For each frame between two keys: the number of the key before, what the slopes of both weigh there, and the frame.
  each(use) {
    for (let i = 0; i + 1 < this.chosen.length; i++) {
      const [start, end] = [this.chosen[i], this.chosen[i + 1]];
      const span = end - start;
      for (let at = start + 1; at < end; at++) {
        const s = (at - start) / span;
        use(i, span * hermite(s, 0, 0, 1, 0), span * hermite(s, 0, 0, 0, 1), at);
      }
    }
  }

  /** @returns {number[][]} the slope of each key that comes nearest to what is missing (pose) => Vec3; none between neighbors */
  solved(wanted, missing) {
    const sums = this.rows.map(() => [0, 0, 0]);
    this.each((i, leaving, arriving, at) => {
      const off = missing(wanted[at]);
      sums[i] = add(sums[i], scale(off, leaving));
      sums[i + 1] = add(sums[i + 1], scale(off, arriving));
    });
    // Gauss' elimination of a tridiagonal matrix (Thomas' algorithm); a little weight on none keeps it solvable.
    const count = sums.length;
    const ratio = [];
    for (let i = 0; i < count; i++) {
      const [before, at, after] = this.rows[i];
      const pivot = at + 1e-9 - (i ? before * ratio[i - 1] : 0);
      ratio.push(after / pivot);
      sums[i] = scale(i ? sub(sums[i], scale(sums[i - 1], before)) : sums[i], 1 / pivot);
    }
    for (let i = count - 2; i >= 0; i--) sums[i] = sub(sums[i], scale(sums[i + 1], ratio[i]));
    return sums;
  }
}
