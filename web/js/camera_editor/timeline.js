// The timeline: a ruler to scrub, keys to click, move and copy, and how fast the camera goes between them.

import { CanvasView, EGO, KEY } from "./canvas_view.js";
import { Coverage } from "./coverage.js";
import { retimed, scaledTo, shifted } from "./curves/retiming.js";
import { clamp, length, sub } from "./math.js";

const SIDE = 16; // layout pixels left and right of the first and last frame
const RULER = 18; // height
const STRIP = 14; // height of the covered shares, below the keys
const PICTURES = 36; // height of the ego pictures above them
const BELOW = STRIP + PICTURES;
const APART = 3; // pixels between pictures at least
const LOW = 0.05; // of the picture: the model would invent the rest
const REACH = 8; // from the middle of a key
const LABEL = 48; // least distance of numbers
const BAR = RULER + 4; // middle of the bar over the chosen keys

/** @returns {number} where a frame is in a view as wide as the timeline, layout pixels */
export const placeAt = ({ nFrames }, frame, width) => SIDE + (frame / Math.max(1, nFrames - 1)) * (width - 2 * SIDE);

/** @returns {number} the frame at a place, the inverse of `placeAt` */
export function frameAt({ nFrames }, x, width) {
  const share = (x - SIDE) / Math.max(1, width - 2 * SIDE);
  return clamp(Math.round(share * (nFrames - 1)), 0, nFrames - 1);
}

export class Timeline extends CanvasView {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    super("e2e-timeline", "Timeline: drag to scrub", () => editor.redraw());
    this.editor = editor;
    this.range = null; // [from, to] while a range of keys is chosen, layout pixels
    this.coverage = new Coverage(editor, () => this.redraw());
  }

  dispose() {
    super.dispose();
    this.coverage.dispose();
  }

  #x(frame) {
    return placeAt(this.editor, frame, this.width);
  }

  #frame(x) {
    return frameAt(this.editor, x, this.width);
  }

  /** @returns {number} the vertical middle of the keys */
  get #row() {
    return RULER + (this.height - RULER - BELOW) / 2;
  }

  draw() {
    if (!this.begin()) return;
    const { width: columns, height: rows } = this.editor.shown;
    this.pictureWidth = Math.min((PICTURES * columns) / rows, 3 * PICTURES);
    this.coverage.update(Math.max(2, Math.floor((this.width - 2 * SIDE + APART) / (this.pictureWidth + APART))));
    const { editor, context, width, height } = this;
    const { colors, nFrames } = editor;
    context.fillStyle = colors.background;
    context.fillRect(0, 0, width, height);
    this.#drawRuler(colors, nFrames);
    this.#drawSpeed();
    this.#drawPictures();
    this.#drawCoverage(colors);
    this.#drawLoop();
    this.#drawBar();
    for (const { frame } of editor.shown.keyframes) this.#drawKey(frame, frame === editor.frame, editor.selected.has(frame));
    if (this.range) {
      context.fillStyle = "rgba(255, 255, 255, 0.2)";
      context.fillRect(this.range[0], RULER, this.range[1] - this.range[0], height - RULER - BELOW);
    }
    const x = this.#x(editor.frame);
    context.fillStyle = EGO;
    context.fillRect(x - 0.75, 0, 1.5, height);
    context.font = `600 10px ${colors.font}`;
    const label = String(editor.frame);
    const half = context.measureText(label).width / 2 + 5;
    const middle = clamp(x, half, width - half);
    context.fillRect(middle - half, 1, 2 * half, 14);
    context.fillStyle = "#1a1a1a";
    context.textAlign = "center";
    context.fillText(label, middle, 11.5);
  }

  #drawRuler(colors, nFrames) {
    const { context, width } = this;
    const perFrame = (width - 2 * SIDE) / Math.max(1, nFrames - 1);
    const step = [1, 2, 4, 5, 8, 10, 20, 25, 50, 100, 200, 500, 1000].find((frames) => frames * perFrame >= LABEL) ?? 5000;
    context.fillStyle = colors.raised;
    context.fillRect(0, 0, width, RULER);
    context.font = `10px ${colors.font}`;
    context.textAlign = "center";
    for (let frame = 0; frame < nFrames; frame++) {
      const named = frame % step === 0;
      if (!named && perFrame < 4) continue;
      context.fillStyle = colors.border;
      context.fillRect(this.#x(frame) - 0.5, named ? RULER - 5 : RULER - 2, 1, named ? 5 : 2);
      if (!named) continue;
      context.fillStyle = colors.faint;
      context.fillText(String(frame), this.#x(frame), 11);
    }
  }

  // How many metres the camera goes in each frame, as a faint area.
  #drawSpeed() {
    const { context, editor } = this;
    const height = this.height - BELOW;
    const path = editor.path();
    if (path.length < 3) return;
    const speeds = path.slice(1).map((point, i) => length(sub(point, path[i])));
    const most = Math.max(...speeds);
    if (most < 1e-9) return;
    context.beginPath();
    context.moveTo(this.#x(0), height);
    speeds.forEach((speed, i) => context.lineTo(this.#x(i + 0.5), height - (0.8 * (height - RULER) * speed) / most));
    context.lineTo(this.#x(path.length - 1), height);
    context.globalAlpha = 0.16;
    context.fillStyle = EGO;
    context.fill();
    context.globalAlpha = 1;
  }

  // What the camera sees, each picture over its frame; the outer ones stay within the timeline.
  #drawPictures() {
    const { context, height, width, pictureWidth } = this;
    for (const [frame, picture] of this.coverage.pictures) {
      const fit = Math.min(pictureWidth / picture.width, PICTURES / picture.height);
      const [wide, high] = [picture.width * fit, picture.height * fit - 2];
      const left = clamp(this.#x(frame) - wide / 2, SIDE, width - SIDE - wide);
      context.fillStyle = "#000";
      context.fillRect(left, height - BELOW, wide, high);
      context.drawImage(picture, left, height - BELOW, wide, high);
    }
  }

  // How much of each frame's picture is covered: bars, red where it is next to nothing.
  #drawCoverage(colors) {
    const { context, height, editor } = this;
    const { shares } = this.coverage;
    if (!shares.size) return;
    context.fillStyle = colors.raised;
    context.fillRect(this.#x(0), height - STRIP, this.#x(editor.nFrames - 1) - this.#x(0), STRIP);
    const frames = [...shares.keys()].sort((a, b) => a - b);
    for (const [i, frame] of frames.entries()) {
      const share = shares.get(frame);
      const low = share < LOW;
      const from = i ? this.#x((frames[i - 1] + frame) / 2) : this.#x(frame);
      const to = i + 1 < frames.length ? this.#x((frame + frames[i + 1]) / 2) : this.#x(frame);
      const high = low ? STRIP : Math.max(1, share * STRIP);
      context.fillStyle = low ? "#b3261e" : "#7bd66f";
      context.fillRect(from, height - high, Math.max(1, to - from), high);
    }
  }

  // What playing leaves out is dimmed.
  #drawLoop() {
    const { context, height, editor } = this;
    const [from, to] = editor.loop();
    context.fillStyle = "rgba(0, 0, 0, 0.45)";
    if (from > 0) context.fillRect(0, 0, this.#x(from), height);
    if (to < editor.nFrames - 1) context.fillRect(this.#x(to), 0, this.width - this.#x(to), height);
  }

  #drawKey(frame, current, chosen) {
    const { context } = this;
    context.save();
    context.translate(this.#x(frame), this.#row);
    context.rotate(Math.PI / 4);
    context.fillStyle = chosen ? "#fff" : KEY;
    context.fillRect(-5.5, -5.5, 11, 11);
    context.lineWidth = current ? 2 : 1;
    context.strokeStyle = current ? (chosen ? EGO : "#fff") : "rgba(0, 0, 0, 0.6)";
    context.strokeRect(-5.5, -5.5, 11, 11);
    context.restore();
  }

  /** @returns {number[] | null} the first and last of several chosen keys, as frames */
  #ends() {
    const frames = this.editor.chosenKeys().map((key) => key.frame);
    return frames.length > 1 ? [frames[0], frames.at(-1)] : null;
  }

  // Over several chosen keys: its ends scale them in time.
  #drawBar() {
    const ends = this.#ends()?.map((frame) => this.#x(frame));
    if (!ends) return;
    const { context } = this;
    context.fillStyle = "rgba(255, 255, 255, 0.55)";
    context.fillRect(ends[0], BAR - 1.5, ends[1] - ends[0], 3);
    context.fillStyle = "#fff";
    for (const x of ends) context.fillRect(x - 3, BAR - 4, 6, 8);
  }

  /** @returns {number[]} where the "start" or "end" of the chosen keys' bar is, layout pixels */
  placeOfEnd(end) {
    return [this.#x(this.#ends()[end === "start" ? 0 : 1]), BAR];
  }

  #endAt([x, y]) {
    const ends = Math.abs(y - BAR) < 6 ? this.#ends() : null;
    if (!ends) return null;
    return ["start", "end"].find((_, i) => Math.abs(this.#x(ends[i]) - x) < REACH) ?? null;
  }

  /** @returns {number | null} the frame of the key under the pointer */
  #keyAt([x, y]) {
    if (Math.abs(y - this.#row) > REACH + 3) return null;
    const near = this.editor.shown.keyframes.find((key) => Math.abs(this.#x(key.frame) - x) < REACH);
    return near?.frame ?? null;
  }

  /** @returns {number[]} where a frame's key is, layout pixels from the upper left */
  placeOf(frame) {
    return [this.#x(frame), this.#row];
  }

  press(event, at) {
    const { editor } = this;
    const end = this.#endAt(at);
    if (end) return this.#retiming((x) => scaledTo(this.taken, end, this.#frame(x)));
    const from = this.#keyAt(at);
    if (from === null && event.shiftKey && at[1] > RULER) return this.#choosing(at[0]);
    if (from === null) {
      editor.goTo(this.#frame(at[0]), true);
      return { move: ([x]) => editor.goTo(this.#frame(x), true), end: () => editor.settle() };
    }
    if (event.shiftKey) return { end: (moved) => moved || editor.toggle(from) };
    if (!editor.selected.has(from)) editor.select([]);
    const moves = editor.selected.size ? editor.selected : new Set([from]);
    const still = () => {
      editor.select([from]);
      editor.goTo(from);
    };
    const shift = (frames) => shifted(this.taken, Math.round(frames), editor.nFrames - 1);
    const drag = this.#retiming((x) => shift(this.#frame(x) - from), moves, from, still);
    return { ...drag, unit: "frames", type: (value) => drag.go(shift(value)) };
  }

  // A drag that moves keys in time: `moveTo(x)` gives where each goes. The frame of now goes along with the key `held`.
  #retiming(moveTo, moves = this.editor.selected, held = null, still = () => {}) {
    const { editor } = this;
    const before = editor.shown;
    const last = editor.nFrames - 1;
    const several = moves.size > 1;
    this.taken = new Set(moves);
    let move = null;
    const go = (to, copy = false) => {
      move = to;
      const made = retimed(before, this.taken, move, last, copy);
      editor.try(made.trajectory, several ? made.chosen : new Set());
    };
    return {
      go,
      move: ([x], event) => go(moveTo(x), event.altKey || event.ctrlKey || event.metaKey),
      end: (moved) => {
        if (!moved || !move) return still();
        editor.commit();
        if (held !== null) editor.goTo(move(held));
      },
    };
  }

  #choosing(from) {
    const { editor } = this;
    return {
      move: ([to]) => {
        this.range = [from, to];
        this.redraw();
      },
      end: () => {
        if (!this.range) return;
        const [low, high] = this.range.sort((a, b) => a - b);
        this.range = null;
        const isWithin = (frame) => this.#x(frame) >= low && this.#x(frame) <= high;
        editor.select(editor.shown.keyframes.map((key) => key.frame).filter(isWithin), true);
      },
    };
  }

  hover(event, at) {
    const key = at && this.#keyAt(at);
    this.canvas.style.cursor = key === null || (at && this.#endAt(at)) ? "ew-resize" : "grab";
    const share = at && at[1] > this.height - STRIP ? this.coverage.shares.get(this.#frame(at[0])) : undefined;
    const covered = share === undefined ? "" : `Frame ${this.#frame(at[0])}: about ${Math.round(100 * share)} % covered`;
    this.canvas.title = key === null || !at ? covered : `Key at frame ${key}: drag to move, with Alt to copy`;
  }

  wheel(event) {
    const step = Math.sign(event.deltaY || event.deltaX);
    this.editor.goTo(clamp(this.editor.frame + step, 0, this.editor.nFrames - 1), true);
    this.editor.settle(200);
  }
}
