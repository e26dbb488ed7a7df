// A splatter that draws with WebGL2 where the page has it, and as `splat.js` does where not, or no longer.

import { rangesOf } from "../cloud.js";
import { quatAxes } from "../math.js";
import { discRadius, LARGEST_SQUARE, Splatter } from "../splat.js";
import { glDevice } from "./device.js";

export class GlSplatter extends Splatter {
  /** @returns {boolean} whether a card draws, so that nothing needs to be left out while something moves */
  get isQuick() {
    return Boolean(glDevice());
  }

  clear() {
    this.device = glDevice();
    if (!this.device) return super.clear();
    this.unread = true;
    this.margin = Math.ceil(Math.max(LARGEST_SQUARE, discRadius(this.height)));
    this.device.begin(this.width + 2 * this.margin, this.height + 2 * this.margin);
  }

  get #size() {
    return { size: [this.width + 2 * this.margin, this.height + 2 * this.margin], margin: this.margin };
  }

  drawDiscs(cloud, frame, pose, lens, step = 1, near = 0) {
    if (!this.device) return super.drawDiscs(cloud, frame, pose, lens, step, near);
    const radius = discRadius(this.height, step);
    const numbers = { eye: [...pose.position], ...quatAxes(pose.rotation), ...this.#size, radius, near, step };
    this.device.draw("discs", cloud, rangesOf(cloud, frame), numbers, lens);
  }

  drawSquares(positions, colors, start, end, view, focal, spacing) {
    if (!this.device) return super.drawSquares(positions, colors, start, end, view, focal, spacing);
    const { eye, right, down, forward } = view;
    const numbers = { eye, right, down, forward, ...this.#size, focal, spacing, largest: LARGEST_SQUARE };
    this.device.draw("squares", { positions, colors }, [[start, end]], numbers);
  }

  finish() {
    if (!this.device || !this.unread) return;
    this.unread = false;
    this.device.read(this.margin, this.margin, this.width, this.height, this.bytes);
  }

  coverage() {
    if (!this.device) return super.coverage();
    this.finish();
    let covered = 0;
    for (const pixel of this.pixels) if (pixel) covered++;
    return covered / this.pixels.length;
  }
}
