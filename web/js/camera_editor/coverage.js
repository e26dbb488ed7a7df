// How much of its picture the ego camera covers in every frame of the clip, computed in the page while nothing else is
// done, from small pictures of all points.

import { scaleTo } from "./ego_view.js";
import { Splatter } from "./splat.js";

const ROWS = 112; // of the pictures: the share does not depend on it, as discs grow with the picture
const BUDGET = 8; // ms at a time
const MOST_FRAMES = 2000; // longer clips are looked at in steps

export class Coverage {
  /**
   * @param {import("./editor.js").Editor} editor
   * @param {() => void} changed is called when more is known
   */
  constructor(editor, changed) {
    this.editor = editor;
    this.changed = changed;
    this.splatter = new Splatter();
    /** Shares, 0 to 1, by frame; frames that are not known yet are missing. @type {Map<number, number>} */
    this.shares = new Map();
  }

  dispose() {
    clearTimeout(this.timer);
  }

  /** Begin anew where what the clip shows has changed; while something is dragged the former shares stay. */
  update() {
    const { editor } = this;
    if (!editor.scene.cloud || !editor.shown.keyframes.length) {
      this.shares = new Map();
      this.of = null;
      return;
    }
    const of = [editor.scene.cloud, editor.shown.keyframes, editor.lens];
    if (editor.moving || of.every((value, i) => value === this.of?.[i])) return;
    this.of = of;
    const { width, height } = editor.shown;
    const share = scaleTo(ROWS, width, height);
    this.splatter.resize(...[width, height].map((side) => Math.max(1, Math.round(side * share))));
    this.lens = editor.lens.scaled(share);
    const last = editor.scene.nFrames - 1;
    const stride = Math.max(1, Math.ceil((last + 1) / MOST_FRAMES));
    this.open = [];
    for (let frame = 0; frame <= last; frame += stride) this.open.push(frame);
    if (this.open.at(-1) !== last) this.open.push(last);
    this.shares = new Map();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#go());
  }

  #go() {
    const { editor, splatter } = this;
    const began = performance.now();
    const { cloud } = editor.scene;
    if (cloud !== this.of?.[0]) return;
    while (this.open.length && performance.now() - began < BUDGET) {
      const frame = this.open.shift();
      splatter.clear();
      splatter.drawDiscs(cloud, frame, editor.pose(frame), this.lens);
      this.shares.set(frame, splatter.coverage());
    }
    this.changed();
    if (this.open.length) this.timer = setTimeout(() => this.#go(), BUDGET);
  }
}
