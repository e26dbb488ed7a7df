// How much of its picture the ego camera covers in every frame of the clip, and little pictures of what it sees, computed in
// the page while nothing else is done.

import { scaleTo } from "./ego_view.js";
import { GlSplatter } from "./gl/gl_splatter.js";

const ROWS = 112; // of the pictures: the share does not depend on it, as discs grow with the picture
const BUDGET = 8; // ms at a time
const WAIT = 100; // ms until it is looked again whether something is still dragged
const MOST_FRAMES = 2000; // longer clips are looked at in steps

export class Coverage {
  /**
   * @param {import("./editor.js").Editor} editor
   * @param {() => void} changed is called when more is known
   */
  constructor(editor, changed) {
    this.editor = editor;
    this.changed = changed;
    this.splatter = new GlSplatter();
    /** Shares, 0 to 1, by frame; frames that are not known yet are missing. @type {Map<number, number>} */
    this.shares = new Map();
    /** What the camera sees, for some frames. @type {Map<number, HTMLCanvasElement>} */
    this.pictures = new Map();
  }

  dispose() {
    clearTimeout(this.timer);
  }

  /**
   * Begin anew where what the clip shows has changed; while something is dragged the former shares and pictures stay.
   * @param {number} count of pictures that there is room for
   */
  update(count) {
    const { editor } = this;
    if (!editor.scene.cloud || !editor.shown.keyframes.length) {
      this.shares = new Map();
      this.pictures = new Map();
      this.of = null;
      return;
    }
    const of = [editor.scene.cloud, editor.shown.keyframes, editor.lens, editor.near(), count];
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
    const step = last / Math.max(1, count - 1);
    const wanted = Array.from({ length: count }, (_, i) => Math.round(i * step));
    /** Frames that have a picture, evenly spread. */
    this.pictured = new Set(wanted.map((frame) => Math.min(Math.round(frame / stride) * stride, last)));
    this.open = [...new Set([...this.pictured, ...this.open])]; // pictures first
    this.shares = new Map();
    this.fresh = new Map();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#go());
  }

  #go() {
    const { editor, splatter } = this;
    const began = performance.now();
    const { cloud } = editor.scene;
    if (cloud !== this.of?.[0]) return;
    if (editor.moving && !editor.playing) {
      this.timer = setTimeout(() => this.#go(), WAIT); // the drag needs the processor
      return;
    }
    while (this.open.length && performance.now() - began < BUDGET) {
      const frame = this.open.shift();
      splatter.clear();
      splatter.drawDiscs(cloud, frame, editor.pose(frame), this.lens, 1, editor.near());
      this.shares.set(frame, splatter.coverage());
      if (this.pictured.has(frame)) this.fresh.set(frame, copyOf(splatter));
    }
    if ([...this.pictured].every((frame) => this.fresh.has(frame))) this.pictures = this.fresh; // all at once: no flicker
    this.changed();
    if (this.open.length) this.timer = setTimeout(() => this.#go(), BUDGET);
  }
}

function copyOf(splatter) {
  const canvas = Object.assign(document.createElement("canvas"), { width: splatter.width, height: splatter.height });
  canvas.getContext("2d").putImageData(new ImageData(splatter.bytes, splatter.width, splatter.height), 0, 0);
  return canvas;
}
