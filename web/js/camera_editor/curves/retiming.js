// Several keys at once: moved, scaled in time, copied, deleted, pasted.

import { clamp, scale } from "../math.js";
import { SLOPES, withKey } from "../trajectory.js";

/** @typedef {import("../trajectory.js").Trajectory} Trajectory */

/**
 * Move keys in time.
 * @param {Trajectory} trajectory
 * @param {Set<number>} chosen frames of the keys that move
 * @param {(frame: number) => number} move where a frame goes; the slopes of the curves go along
 * @param {number} last frame of the clip
 * @param {boolean} [copy] leave the keys where they are, too
 * @returns {{trajectory: Trajectory, chosen: Set<number>}} keys that others come to lie on are replaced
 */
export function retimed(trajectory, chosen, move, last, copy = false) {
  const keys = trajectory.keyframes.filter((key) => chosen.has(key.frame));
  const frames = apart(keys.map((key) => clamp(Math.round(move(key.frame)), 0, last)), last);
  const stretch = spanOf(frames) / spanOf(keys.map((key) => key.frame));
  const others = copy ? trajectory.keyframes : trajectory.keyframes.filter((key) => !chosen.has(key.frame));
  const moved = keys.map((key, i) => ({ ...stretched(key, stretch), frame: frames[i] }));
  return { trajectory: withKeys({ ...trajectory, keyframes: others }, moved), chosen: new Set(frames) };
}

const spanOf = (frames) => Math.max(1, frames.at(-1) - frames[0]);

// Sorted frames with none doubled, within the clip.
function apart(frames, last) {
  const found = [...frames];
  for (let i = 1; i < found.length; i++) found[i] = Math.max(found[i], found[i - 1] + 1);
  for (let i = found.length - 1, most = last; i >= 0; i--, most--) found[i] = Math.min(found[i], most);
  return found;
}

function stretched(key, stretch) {
  if (stretch === 1) return key;
  const slopes = Object.keys(SLOPES).filter((name) => key[name]);
  return { ...key, ...Object.fromEntries(slopes.map((name) => [name, limited(scale(key[name], 1 / stretch), SLOPES[name])])) };
}

const limited = (slope, most) => slope.map((value) => clamp(value, -most, most));

/** @returns {Trajectory} with keys, which replace those at their frames */
export function withKeys(trajectory, keys) {
  return keys.reduce((made, key) => withKey(made, key.frame, key, key), trajectory);
}

/** @returns {(frame: number) => number} shifts keys in time, as far as all of them stay within the clip */
export function shifted(chosen, by, last) {
  const frames = [...chosen];
  const way = clamp(by, -Math.min(...frames), last - Math.max(...frames));
  return (frame) => frame + way;
}

/** @returns {(frame: number) => number} scales keys in time, so that the first ("start") or last ("end") lies at a frame */
export function scaledTo(chosen, end, to) {
  const frames = [...chosen];
  const [first, final] = [Math.min(...frames), Math.max(...frames)];
  const least = frames.length - 1;
  if (end === "end") return (frame) => first + ((frame - first) * Math.max(to - first, least)) / (final - first);
  return (frame) => final + ((frame - final) * Math.max(final - to, least)) / (final - first);
}
