// Lines of the scene: the ground's grid, a camera's frustum, the way of the ego camera. Drawn in layout pixels.

import { along, quatAxes } from "./math.js";

const NEAR = 0.02; // metres: lines are cut there
const CELLS = 8; // of the grid, to each side
const EDGE = 5; // pieces of each side of a frustum, which a fisheye bends

/**
 * Draw a line through world points; parts behind the viewer are left out.
 * @param {CanvasRenderingContext2D} context
 * @param {number[][]} points
 * @param {(point: number[]) => number[]} project column, row, depth
 */
export function drawLine(context, points, project, color, width) {
  context.beginPath();
  let drawn = false;
  for (const point of points) {
    const [x, y, z] = project(point);
    if (z < NEAR) drawn = false;
    else if (drawn) context.lineTo(x, y);
    else {
      context.moveTo(x, y);
      drawn = true;
    }
  }
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke();
}

/** Draw a grid of metres on the ground. */
export function drawGround(context, ground, project, colors) {
  const at = (x, z) => along(ground.point, ground.right, x, ground.forward, z + CELLS / 2);
  context.globalAlpha = 0.55;
  for (let i = -CELLS; i <= CELLS; i++) {
    // In pieces, so that only what is behind the viewer is left out.
    const steps = Array.from({ length: 4 * CELLS + 1 }, (_, step) => (step - 2 * CELLS) / 2);
    const width = i === 0 ? 1.5 : 0.7;
    drawLine(context, steps.map((z) => at(i, z)), project, colors.border, width);
    drawLine(context, steps.map((x) => at(x, i)), project, colors.border, width);
  }
  context.globalAlpha = 1;
}

/** @returns {number[]} the ray to a pixel of a camera's drawn picture: flat for an ordinary lens, a dome for a fisheye */
export function pictureRay(lens, column, row) {
  const ray = lens.unproject(column, row);
  return lens.isFlat ? ray.map((value) => value / ray[2]) : ray;
}

/**
 * The outline of a camera's picture in the world.
 * @param {import("./trajectory.js").Pose} pose
 * @param {import("./lens.js").Lens} lens
 * @param {{width: number, height: number}} size pixels
 * @param {number} reach metres along each ray
 * @returns {number[][]} closed, `EDGE` pieces a side from the upper left corner on
 */
export function outline(pose, lens, { width, height }, reach) {
  const corners = [[0, 0], [width, 0], [width, height], [0, height], [0, 0]];
  const points = [];
  for (let side = 0; side < 4; side++) {
    for (let i = 0; i < EDGE; i++) {
      const [a, b] = [corners[side], corners[side + 1]];
      const share = i / EDGE;
      points.push(pictureRay(lens, a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share));
    }
  }
  const { right, down, forward } = quatAxes(pose.rotation);
  const made = points.map(([x, y, z]) => along(pose.position, right, x * reach, down, y * reach, forward, z * reach));
  return [...made, made[0]];
}

/** Draw a camera: its outline, the edges from the eye, and a tick on its upper side. */
export function drawCamera(context, pose, lens, size, reach, project, color, width) {
  const edge = outline(pose, lens, size, reach);
  context.lineJoin = "round";
  // A dark line below keeps it legible on bright points.
  for (const [ink, extra] of [["rgba(0, 0, 0, 0.55)", 2], [color, 0]]) {
    drawLine(context, edge, project, ink, width + extra);
    for (let corner = 0; corner < 4; corner++) {
      drawLine(context, [pose.position, edge[corner * EDGE]], project, ink, 0.8 * width + extra);
    }
  }
  const { down } = quatAxes(pose.rotation);
  const [left, right] = [edge[1], edge[EDGE - 1]];
  const tip = along(left.map((value, i) => (value + right[i]) / 2), down, -0.25 * reach);
  drawLine(context, [left, tip, right], project, color, width);
}

/** Draw the ego camera's way: a line, a dot a frame, a diamond a key. */
export function drawPath(context, path, keyframes, frame, project, color, keyColor) {
  if (path.length > 1) {
    drawLine(context, path, project, "rgba(0, 0, 0, 0.5)", 4);
    drawLine(context, path, project, color, 2);
    context.fillStyle = color;
    for (const point of path) {
      const [x, y, z] = project(point);
      if (z > NEAR) context.fillRect(x - 1.5, y - 1.5, 3, 3);
    }
  }
  for (const key of keyframes) {
    const [x, y, z] = project(key.position);
    if (z < NEAR) continue;
    context.save();
    context.translate(x, y);
    context.rotate(Math.PI / 4);
    context.fillStyle = keyColor;
    context.strokeStyle = key.frame === frame ? "#fff" : "rgba(0, 0, 0, 0.8)";
    context.lineWidth = 1.5;
    context.fillRect(-4, -4, 8, 8);
    context.strokeRect(-4, -4, 8, 8);
    context.restore();
  }
}
