// The handles on the ego frustum: where they are in the scene's picture, and what dragging them does to the pose.

import { AXES, EGO } from "./canvas_view.js";
import { anglesOf, rotationOf } from "./ground.js";
import { add, along, dot, length, lookAlong, normalize, quatAbout, quatAxes, quatMultiply, scale, sub } from "./math.js";

const REACH = 11; // pixels from a handle's middle
const ARM = 0.11; // length of an arm, as a share of the distance to the viewer
const GAZE = 0.26; // the handle of the gaze, likewise

/**
 * @typedef {object} Handle
 * @property {"eyes" | "right" | "up" | "forward" | "gaze" | "roll"} kind
 * @property {number[]} at in the world
 * @property {string} color
 * @property {string} hint what dragging does
 */

/**
 * @param {import("./trajectory.js").Pose} pose of the ego camera
 * @param {import("./ground.js").Ground} ground
 * @param {number[]} eye of the viewer
 * @returns {Handle[]} the one drawn last is taken first
 */
export function handlesOf(pose, ground, eye) {
  const away = length(sub(pose.position, eye));
  const arm = (axis) => along(pose.position, axis, away * ARM);
  const { down, forward } = quatAxes(pose.rotation);
  return [
    { kind: "right", at: arm(ground.right), color: AXES.right, hint: "Move sideways" },
    { kind: "up", at: arm(ground.up), color: AXES.up, hint: "Move up and down" },
    { kind: "forward", at: arm(ground.forward), color: AXES.forward, hint: "Move ahead and back" },
    { kind: "roll", at: along(pose.position, forward, away * ARM, down, -away * ARM * 0.8), color: "#e0e0e0", hint: "Roll" },
    { kind: "gaze", at: along(pose.position, forward, away * GAZE), color: EGO, hint: "Turn the gaze" },
    { kind: "eyes", at: pose.position, color: "#ffffff", hint: "Move along the image plane" },
  ];
}

/**
 * The handle under the pointer.
 * @param {Handle[]} handles
 * @param {(point: number[]) => number[]} project column, row and depth
 * @param {number[]} pointer
 * @returns {Handle | null}
 */
export function handleAt(handles, project, pointer) {
  for (const handle of [...handles].reverse()) {
    const [x, y, z] = project(handle.at);
    if (z > 0 && Math.hypot(x - pointer[0], y - pointer[1]) < REACH) return handle;
  }
  return null;
}

/**
 * The pose after a handle was dragged.
 * @param {Handle} handle where the drag began
 * @param {import("./trajectory.js").Pose} pose when the drag began
 * @param {object} scene `{ground, rollLock, project(point), ray(pointer), axes, focal}` of the viewer
 * @param {number[]} from pointer when the drag began
 * @param {number[]} to pointer now
 * @returns {import("./trajectory.js").Pose}
 */
export function dragged(handle, pose, scene, from, to) {
  if (handle.kind === "gaze") return { ...pose, rotation: gazed(handle, pose, scene, from, to) };
  if (handle.kind === "roll") return { ...pose, rotation: rolled(pose, scene, from, to) };
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  if (handle.kind === "eyes") {
    const metres = scene.project(pose.position)[2] / scene.focal;
    return { ...pose, position: along(pose.position, scene.axes.right, dx * metres, scene.axes.down, dy * metres) };
  }
  // How far along the axis brings the handle nearest to the pointer.
  const axis = scene.ground[handle.kind];
  const size = length(sub(handle.at, pose.position));
  const [start, tip] = [scene.project(pose.position), scene.project(handle.at)];
  const [ax, ay] = [(tip[0] - start[0]) / size, (tip[1] - start[1]) / size]; // pixels a metre
  const square = Math.max(ax * ax + ay * ay, (0.15 * scene.focal / start[2]) ** 2); // end on, it would run away
  return { ...pose, position: along(pose.position, axis, (dx * ax + dy * ay) / square) };
}

/** What a number counts that is typed while a handle is dragged; the handle of the eyes takes none. */
export const TYPED = {
  right: "m to the right", up: "m up", forward: "m ahead", gaze: "\u00b0 to the right", roll: "\u00b0 clockwise",
};

/** @returns {import("./trajectory.js").Pose} after a handle went as far as a typed number says */
export function typedTo(kind, pose, ground, value) {
  if (ground[kind]) return { ...pose, position: along(pose.position, ground[kind], value) };
  const [yaw, pitch, roll] = anglesOf(ground, pose.rotation);
  return { ...pose, rotation: rotationOf(ground, kind === "gaze" ? [yaw + value, pitch, roll] : [yaw, pitch, roll + value]) };
}

// The gaze's handle stays on a sphere around the eyes, on the side where it was taken.
function gazed(handle, pose, scene, from, to) {
  const radius = length(sub(handle.at, pose.position));
  const [x, y] = scene.project(handle.at);
  const ray = normalize(scene.ray([x + to[0] - from[0], y + to[1] - from[1]]));
  const toEyes = sub(pose.position, scene.axes.eye);
  const middle = dot(ray, toEyes);
  const nearest = sub(scale(ray, middle), toEyes); // from the eyes to the ray
  const half = Math.sqrt(Math.max(0, radius * radius - dot(nearest, nearest)));
  const far = dot(sub(handle.at, pose.position), ray) > 0 ? half : -half;
  return turnedTo(pose.rotation, add(nearest, scale(ray, far)), scene);
}

/** @returns {number[]} a rotation that looks along `forward`; roll stays as it is, or is none where it is locked */
export function turnedTo(rotation, forward, { ground, rollLock }) {
  return lookAlong(forward, ground.up, rollLock ? 0 : rollOf(rotation, ground));
}

function rollOf(rotation, ground) {
  const upright = lookAlong(quatAxes(rotation).forward, ground.up);
  const { right, down } = quatAxes(upright);
  const side = quatAxes(rotation).right;
  return Math.atan2(dot(side, down), dot(side, right));
}

function rolled(pose, scene, from, to) {
  const [x, y] = scene.project(pose.position);
  const turn = Math.atan2(to[1] - y, to[0] - x) - Math.atan2(from[1] - y, from[0] - x);
  const { forward } = quatAxes(pose.rotation);
  const sense = dot(forward, scene.axes.forward) >= 0 ? 1 : -1;
  return quatMultiply(pose.rotation, quatAbout([0, 0, 1], sense * turn));
}
