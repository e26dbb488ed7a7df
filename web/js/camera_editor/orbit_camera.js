// The eye that looks at the scene: it circles a target, upright over the ground, or flies.

import { add, along, clamp, cross, dot, scale, sub } from "./math.js";

const HALF_FOV = Math.tan((25 * Math.PI) / 180); // of the height
const STEEPEST = 1.55; // radians
const PER_PIXEL = 0.006; // radians

export class OrbitCamera {
  constructor() {
    this.yaw = 0.6; // radians to the right of the ground's forward
    this.pitch = -0.5; // radians; below zero it looks down
    this.distance = 5; // metres
    this.target = [0, 0, 3];
    this.ground = { up: [0, -1, 0], right: [1, 0, 0], forward: [0, 0, 1] };
  }

  /** @returns {object} what is stored with the node */
  state() {
    const { yaw, pitch, distance, target } = this;
    return { yaw, pitch, distance, target: [...target] };
  }

  /** Take what `state` gave; anything else is ignored. */
  restore(state) {
    const numbers = [state?.yaw, state?.pitch, state?.distance, ...(state?.target ?? [])];
    if (numbers.length !== 6 || !numbers.every(Number.isFinite)) return false;
    this.yaw = state.yaw;
    this.pitch = state.pitch;
    this.distance = state.distance;
    this.target = [...state.target];
    return true;
  }

  /** @returns {{eye: number[], right: number[], down: number[], forward: number[]}} */
  axes() {
    const { up, right, forward } = this.ground;
    const flat = along([0, 0, 0], forward, Math.cos(this.yaw), right, Math.sin(this.yaw));
    const ahead = along([0, 0, 0], flat, Math.cos(this.pitch), up, Math.sin(this.pitch));
    const side = cross(flat, up);
    return { eye: along(this.target, ahead, -this.distance), right: side, down: cross(ahead, side), forward: ahead };
  }

  /** @returns {number} focal length in pixels of a picture of that height */
  focal(height) {
    return height / 2 / HALF_FOV;
  }

  /** Circle the target by a drag in pixels. */
  orbit(dx, dy) {
    this.yaw -= dx * PER_PIXEL;
    this.pitch = clamp(this.pitch - dy * PER_PIXEL, -STEEPEST, STEEPEST);
  }

  /** Move along the picture by a drag in pixels: what is at the target's distance follows the pointer. */
  pan(dx, dy, height) {
    const { right, down } = this.axes();
    const metres = this.distance / this.focal(height);
    this.target = along(this.target, right, -dx * metres, down, -dy * metres);
  }

  /** Come nearer (below 1) or go away. */
  zoom(factor) {
    this.distance = clamp(this.distance * factor, 0.05, 500);
  }

  /** Fly by metres to the right, up and ahead. */
  fly(right, up, ahead) {
    const axes = this.axes();
    this.target = along(this.target, axes.right, right, this.ground.up, up, axes.forward, ahead);
  }

  /** Look at a point from a distance, from where it looks now. */
  frame(point, distance) {
    this.target = [...point];
    this.distance = clamp(distance, 0.05, 500);
  }

  /** Look along a direction: "top", "front" (as the exo camera) or "side". */
  face(side) {
    this.yaw = side === "side" ? -Math.PI / 2 : 0;
    this.pitch = side === "top" ? -STEEPEST : 0;
  }

  /**
   * Where a world point is in a picture.
   * @returns {number[]} column, row and depth in metres (behind the eye where it is not positive)
   */
  project(point, width, height, axes = this.axes()) {
    const off = sub(point, axes.eye);
    const z = dot(axes.forward, off);
    const near = this.focal(height) / z;
    return [width / 2 + near * dot(axes.right, off), height / 2 + near * dot(axes.down, off), z];
  }

  /** @returns {number[]} the ray of a pixel, not of unit length: 1 along the view */
  ray(column, row, width, height, axes = this.axes()) {
    const focal = this.focal(height);
    return add(axes.forward, add(scale(axes.right, (column - width / 2) / focal), scale(axes.down, (row - height / 2) / focal)));
  }
}
