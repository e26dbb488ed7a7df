// Presets: whole trajectories made at once, from where the camera is now.

import { rangesOf } from "./cloud.js";
import { add, scale, sub } from "./math.js";
import { turnedTo } from "./handles.js";
import { withKey } from "./trajectory.js";

const STEP = 6; // frames between the keys of a trajectory that follows something
const LEAST_POINTS = 12; // of what moves, for a frame to count

/**
 * @typedef {object} Moment
 * @property {import("./trajectory.js").Trajectory} trajectory
 * @property {import("./trajectory.js").Pose} pose now
 * @property {number} frame now
 * @property {number} nFrames
 * @property {import("./scene.js").Scene} scene
 * @property {boolean} rollLock
 * @property {boolean} [startIsLinked] whether a camera to start from is connected
 */
/** @typedef {(moment: Moment) => import("./trajectory.js").Trajectory} Move throws an Error that says why it cannot be made */

/** @type {Record<string, {label: string, make: Move}>} */
export const MOVES = {
  start: { label: "Connected start camera", make: fromStart },
  static: { label: "Static: stay as now", make: ({ trajectory, pose }) => withKey({ ...trajectory, keyframes: [] }, 0, pose) },
  watch: { label: "Look at what moves", make: watch },
  follow: { label: "Follow what moves", make: follow },
};

function fromStart({ trajectory, scene, startIsLinked }) {
  if (!scene.start?.keyframes.length) {
    const missing = startIsLinked ? "The start camera is connected, but has not run yet: run once" : "Connect an ego camera to start_camera and run once";
    throw new Error(`${missing}.`);
  }
  const { lens, width, height } = scene.start;
  return { ...trajectory, lens, width, height, keyframes: scene.start.keyframes };
}

/** @returns {import("./trajectory.js").Trajectory} every key, or one here where there is none, looks at a point */
export function lookAt({ trajectory, pose, frame, scene, rollLock }, point) {
  const looking = (from) => {
    const rotation = turnedTo(from.rotation, sub(point, from.position), { ground: scene.ground, rollLock });
    return { position: from.position, rotation };
  };
  const keyframes = trajectory.keyframes.map(({ turn_in, turn_out, ...key }) => ({ ...key, ...looking(key) }));
  if (!keyframes.length) return withKey(trajectory, frame, looking(pose));
  return { ...trajectory, keyframes };
}

// The gaze goes with what moves; the eyes stay where they are.
function watch({ trajectory, pose, nFrames, scene, rollLock }) {
  const way = middles(scene, nFrames);
  let made = { ...trajectory, keyframes: [] };
  for (const { frame, middle } of way) {
    const rotation = turnedTo(pose.rotation, sub(middle, pose.position), { ground: scene.ground, rollLock });
    made = withKey(made, frame, { position: pose.position, rotation });
  }
  return made;
}

// The eyes go with what moves, as far from it as now, and look the way they look now.
function follow({ trajectory, pose, frame, nFrames, scene }) {
  const way = middles(scene, nFrames);
  const now = way.reduce((best, one) => (Math.abs(one.frame - frame) < Math.abs(best.frame - frame) ? one : best));
  const offset = sub(pose.position, now.middle);
  let made = { ...trajectory, keyframes: [] };
  for (const one of way) made = withKey(made, one.frame, { position: add(one.middle, offset), rotation: pose.rotation });
  return made;
}

// The middle of each frame's own points, at every few frames and the last.
function middles(scene, nFrames) {
  const { cloud } = scene;
  if (!cloud) throw new Error("Run once to get the points.");
  const found = [];
  const frames = [];
  for (let frame = 0; frame < nFrames - 1; frame += STEP) frames.push(frame);
  for (const frame of [...frames, nFrames - 1]) {
    const [start, end] = rangesOf(cloud, frame)[1];
    if (!cloud.nStatic || end - start < LEAST_POINTS) continue;
    let sum = [0, 0, 0];
    for (let i = start; i < end; i++) sum = add(sum, cloud.positions.subarray(3 * i, 3 * i + 3));
    found.push({ frame, middle: scale(sum, 1 / (end - start)) });
  }
  if (found.length < 2) throw new Error("Nothing moves in these points: Point Cloud separates background and moving points.");
  return found;
}
