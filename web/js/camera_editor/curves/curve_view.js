// The curves of position and direction over time: keys and the handles of their slopes, to drag.

import { CanvasView } from "../canvas_view.js";
import { clamp } from "../math.js";
import { frameAt, placeAt } from "../timeline.js";
import { CHANNELS, slopeOf, valueOf, valuesAt, withSlope, withValue } from "./channels.js";
import { retimed, shifted, withKeys } from "./retiming.js";

const REACH = 8; // pixels from the middle of a key or a handle
const ARM = 42; // pixels from a key to its handles
const EDGE = 14; // pixels above and below the curves
const DENSE = 3; // pixels between the points of a curve
const LEAST = { m: 0.02, "°": 1 }; // range that fills the height, where a curve is flat
const MOST_POINTS = 600;

export class CurveView extends CanvasView {
  /** @param {import("../editor.js").Editor} editor */
  constructor(editor) {
    super("e2e-curves", "Curves: drag keys and the handles of their slopes", () => editor.redraw());
    this.editor = editor;
    this.root.hidden = true;
    this.box = null; // [from, to] of a box that is being drawn
  }

  draw() {
    this.root.hidden = !this.editor.options.curves;
    if (this.root.hidden || !this.begin()) return;
    const { editor, context, width, height } = this;
    context.fillStyle = editor.colors.background;
    context.fillRect(0, 0, width, height);
    this.#measure();
    const written = this.#drawLevels();
    for (const { channel, places } of this.lines) {
      context.beginPath();
      for (const [i, [x, y]] of places.entries()) context[i ? "lineTo" : "moveTo"](x, y);
      context.strokeStyle = channel.color;
      context.lineWidth = 1.5;
      context.stroke();
    }
    for (const handle of this.handles) this.#drawHandle(handle);
    for (const point of this.points) this.#drawPoint(point);
    context.fillStyle = "rgba(255, 176, 46, 0.8)";
    context.fillRect(placeAt(editor, editor.frame, width) - 0.75, 0, 1.5, height);
    this.#write(written);
    if (this.box) this.#drawBox();
  }

  // What is shown: lines, points of keys, handles of slopes, all in layout pixels.
  #measure() {
    const { editor, width } = this;
    const { keyframes } = editor.shown;
    const { ground } = editor.scene;
    const channels = CHANNELS.filter(({ name }) => !editor.options.hiddenChannels.split(",").includes(name));
    [this.lines, this.points, this.handles] = [[], [], []];
    if (!keyframes.length) return;
    const count = clamp(Math.round(width / DENSE), 2, MOST_POINTS);
    const last = Math.max(1, editor.nFrames - 1);
    const even = Array.from({ length: count + 1 }, (_, i) => (i * last) / count);
    const frames = [...new Set([...even, ...keyframes.map((key) => key.frame)])].sort((a, b) => a - b);
    const sampled = channels.map((channel) => ({ channel, values: valuesAt(channel, keyframes, frames, ground) }));
    if (!this.held) this.ranges = rangesOf(sampled);
    for (const { channel, values } of sampled) {
      const y = (value) => this.#y(channel, value);
      this.lines.push({ channel, places: values.map((value, i) => [placeAt(editor, frames[i], width), y(value)]) });
      keyframes.forEach((key, index) => {
        const value = values[frames.indexOf(key.frame)];
        const at = [placeAt(editor, key.frame, width), y(value)];
        this.points.push({ channel, frame: key.frame, index, at });
        if (!editor.selected.has(key.frame)) return;
        for (const side of ["in", "out"]) {
          if (!keyframes[index + (side === "in" ? -1 : 1)]) continue;
          const slope = slopeOf(channel, keyframes, index, side, ground);
          const [dx, dy] = [this.#perFrame, -slope * this.#perUnit(channel)];
          const arm = ((side === "in" ? -1 : 1) * ARM) / Math.hypot(dx, dy);
          this.handles.push({ channel, frame: key.frame, index, side, from: at, at: [at[0] + arm * dx, at[1] + arm * dy] });
        }
      });
    }
  }

  get #perFrame() {
    return placeAt(this.editor, 1, this.width) - placeAt(this.editor, 0, this.width);
  }

  #perUnit({ unit }) {
    const [low, high] = this.ranges[unit];
    return (this.height - 2 * EDGE) / (high - low);
  }

  #y(channel, value) {
    return this.height - EDGE - (value - this.ranges[channel.unit][0]) * this.#perUnit(channel);
  }

  // Lines at round values. Returns what is written on them: metres on the left, degrees on the right.
  #drawLevels() {
    const { context, width, height, editor } = this;
    const written = [];
    context.fillStyle = editor.colors.faint;
    context.globalAlpha = 0.35;
    for (const [unit, side] of [["m", "left"], ["°", "right"]]) {
      if (!this.lines.some(({ channel }) => channel.unit === unit)) continue;
      const [low, high] = this.ranges[unit];
      const step = roundStep((high - low) / 4);
      for (let i = Math.ceil(low / step); i * step <= high; i++) {
        const y = this.#y({ unit }, i * step);
        if (side === "left") context.fillRect(0, y, width, 0.5);
        written.push([`${Number((i * step).toFixed(4))} ${unit}`.replace(" °", "°"), side, side === "left" ? 3 : width - 3, y - 2]);
      }
    }
    context.globalAlpha = 1;
    const why = editor.shown.keyframes.length ? "No curve is chosen." : "No keys yet.";
    return this.lines.length ? written : [[why, "center", width / 2, height / 2]];
  }

  // Over the curves, which end where the values stand; the background around the letters keeps them apart.
  #write(written) {
    const { context, editor } = this;
    const { font, background, faint } = editor.colors;
    Object.assign(context, { font: `10px ${font}`, strokeStyle: background, fillStyle: faint, lineWidth: 3, lineJoin: "round" });
    for (const [text, side, x, y] of written) {
      context.textAlign = side;
      context.strokeText(text, x, y);
      context.fillText(text, x, y);
    }
  }

  #drawPoint({ channel, frame, at: [x, y] }) {
    const { context, editor } = this;
    context.beginPath();
    context.arc(x, y, 4, 0, 2 * Math.PI);
    context.fillStyle = editor.selected.has(frame) ? "#fff" : channel.color;
    context.fill();
    context.strokeStyle = "rgba(0, 0, 0, 0.7)";
    context.lineWidth = 1;
    context.stroke();
  }

  #drawHandle({ channel, from, at }) {
    const { context } = this;
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...at);
    context.strokeStyle = channel.color;
    context.lineWidth = 1;
    context.stroke();
    context.fillStyle = channel.color;
    context.fillRect(at[0] - 3, at[1] - 3, 6, 6);
  }

  #drawBox() {
    const [[ax, ay], [bx, by]] = this.box;
    this.context.strokeStyle = "#fff";
    this.context.lineWidth = 1;
    this.context.strokeRect(ax, ay, bx - ax, by - ay);
  }

  /** @returns {number[]} where a key of a channel is, or with `side` the handle of its slope, layout pixels */
  placeOf({ curve, key, side }) {
    const isMeant = (one) => one.channel.name === curve && one.frame === key && one.side === side;
    return (side ? this.handles : this.points).find(isMeant).at;
  }

  #nearest(list, [x, y]) {
    const all = (list ?? []).map((one) => ({ one, off: Math.hypot(one.at[0] - x, one.at[1] - y) }));
    return all.filter(({ off }) => off < REACH).sort((a, b) => a.off - b.off)[0]?.one ?? null;
  }

  press(event, from) {
    if (event.button !== 0) return null;
    const handle = this.#nearest(this.handles, from);
    const point = this.#nearest(this.points, from);
    if (handle && !point) return this.#dragSlope(handle, event.altKey);
    if (point) return this.#dragKeys(point, from, event.shiftKey);
    return {
      move: (to) => {
        this.box = [from, to];
        this.redraw();
      },
      end: (moved) => {
        const { box } = this;
        this.box = null;
        if (!moved || !box) return;
        const inside = this.points.filter(({ at }) => within(at, box));
        this.editor.select(inside.map(({ frame }) => frame), event.shiftKey);
      },
    };
  }

  click(event, at) {
    if (event.button !== 0 || this.#nearest(this.points, at) || this.#nearest(this.handles, at)) return;
    this.editor.select([]);
    this.editor.goTo(frameAt(this.editor, at[0], this.width));
  }

  // Up and down changes the values of the chosen keys, sideways their times: whichever way the drag begins.
  #dragKeys({ channel, frame }, from, shift) {
    const { editor } = this;
    if (shift) editor.toggle(frame);
    else if (!editor.selected.has(frame)) editor.select([frame]);
    const before = editor.shown;
    const chosen = new Set(editor.selected);
    const keys = before.keyframes.filter((key) => chosen.has(key.frame));
    let sideways = null;
    const last = editor.nFrames - 1;
    const raised = (key, by) => ({ ...key, ...withValue(channel, key, editor.scene.ground, by) });
    const raise = (by) => editor.try(withKeys(before, keys.map((key) => raised(key, by))));
    return {
      fine: true,
      move: (to) => {
        const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
        sideways ??= Math.abs(dx) > Math.abs(dy);
        this.held = true;
        if (sideways) {
          const made = retimed(before, chosen, shifted(chosen, Math.round(dx / this.#perFrame), last), last);
          return editor.try(made.trajectory, made.chosen);
        }
        const by = -dy / this.#perUnit(channel);
        raise(by);
      },
      unit: `${channel.unit} of ${channel.name}`,
      type: raise,
      end: (moved) => this.#end(moved, () => !shift && editor.goTo(frame)),
    };
  }

  #dragSlope({ channel, index, side, from }, alone) {
    const { editor } = this;
    const before = editor.shown;
    const sense = side === "in" ? -1 : 1;
    return {
      fine: true,
      move: ([x, y]) => {
        this.held = true;
        const frames = Math.max(sense * (x - from[0]), 1) / this.#perFrame;
        const slope = (-sense * (y - from[1])) / this.#perUnit(channel) / frames;
        const key = withSlope(channel, before.keyframes, index, side, editor.scene.ground, slope, !alone);
        editor.try(withKeys(before, [key]));
      },
      end: (moved) => this.#end(moved),
    };
  }

  #end(moved, otherwise) {
    this.held = false;
    if (moved) this.editor.commit();
    else otherwise?.();
  }

  hover(event, at) {
    const handle = at && this.#nearest(this.handles, at);
    const point = at && this.#nearest(this.points, at);
    this.canvas.style.cursor = point ? "move" : handle ? "grab" : "crosshair";
    const named = point ?? handle;
    if (!named) return void (this.canvas.title = "");
    const { channel, frame, index, side } = named;
    const { keyframes } = this.editor.shown;
    const { ground } = this.editor.scene;
    const { name, unit } = channel;
    this.canvas.title = point
      ? `${name} at frame ${frame}: ${valueOf(channel, keyframes[index], ground).toFixed(3)} ${unit}`
      : `${name}: ${slopeOf(channel, keyframes, index, side, ground).toFixed(4)} ${unit} a frame. Drag; with Alt this side alone`;
  }
}

const within = ([x, y], [[ax, ay], [bx, by]]) => (x - ax) * (x - bx) <= 0 && (y - ay) * (y - by) <= 0;

// The values that fill the height, of all metres and of all degrees.
function rangesOf(sampled) {
  return Object.fromEntries(
    Object.entries(LEAST).map(([unit, least]) => {
      const values = sampled.filter(({ channel }) => channel.unit === unit).flatMap((one) => one.values);
      const [low, high] = values.length ? [Math.min, Math.max].map((of) => values.reduce((a, b) => of(a, b))) : [0, least];
      const more = Math.max(0, least - (high - low)) / 2;
      return [unit, [low - more, high + more]];
    }),
  );
}

function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= least);
}
