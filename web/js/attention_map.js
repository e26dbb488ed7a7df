// Attention Map: the ego frames of the last run stand on the node, and a click on them sets `frame`, `x` and `y`.
//
// The node sends one picture of ego frames beside each other, and their numbers, as `ego_frames` with its preview. The
// picture is a DOM widget, which classic and Vue nodes both show. The widgets' values are the only state.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { addElement } from "./dom_widget.js";

const NODE = "Exo2EgoAttentionMap";
const HINT = "Run once, then click on an ego frame to choose the point.";
const HINT_HEIGHT = 24;
const MARGIN = 20; // around a DOM widget, both sides together

function widgetOf(node, name) {
  return node.widgets?.find((widget) => widget.name === name);
}

function setValue(node, name, value) {
  const widget = widgetOf(node, name);
  if (!widget) return;
  widget.value = value;
  widget.callback?.(value);
}

class Picker {
  constructor(node) {
    this.node = node;
    this.frames = [];
    this.root = document.createElement("div");
    this.root.className = "exo2ego-picker";
    this.root.style.cssText = "width: 100%; line-height: 0; overflow: hidden";
    this.hint = document.createElement("div");
    this.hint.textContent = HINT;
    this.hint.style.cssText = "font: 12px sans-serif; color: #aaa; padding: 4px";
    this.picture = document.createElement("img");
    this.picture.draggable = false;
    this.picture.style.cssText = "width: 100%; display: none; cursor: crosshair";
    this.mark = document.createElement("div");
    this.mark.className = "exo2ego-mark";
    this.mark.style.cssText =
      "position: absolute; box-sizing: border-box; width: 16px; height: 16px; margin: -8px 0 0 -8px; border: 2px solid #ffe61a; " +
      "border-radius: 50%; box-shadow: 0 0 0 1.5px black, inset 0 0 0 1.5px black; pointer-events: none; display: none";
    // The mark is placed in the picture's own box: the root may be higher than the picture.
    const box = document.createElement("div");
    box.style.cssText = "position: relative; width: 100%; line-height: 0";
    box.append(this.picture, this.mark);
    this.root.append(this.hint, box);
    this.picture.addEventListener("click", (event) => this.pick(event));
    this.picture.addEventListener("load", () => this.fit());
    this.root.addEventListener("pointerenter", () => this.show(app.nodeOutputs?.[node.id]));
  }

  // Take in what a run sent, once.
  show(output) {
    const sent = output?.ego_frames?.[0];
    if (!sent || sent.filename === this.filename) return;
    this.filename = sent.filename;
    this.frames = sent.frames;
    const { filename, subfolder, type } = sent;
    this.picture.src = api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
  }

  fit() {
    this.hint.style.display = "none";
    this.picture.style.display = "block";
    const needed = this.node.computeSize();
    const size = this.node.size;
    this.node.setSize([Math.max(size[0], needed[0]), Math.max(size[1], needed[1])]);
    this.drawMark();
    this.node.graph?.setDirtyCanvas(true, true);
  }

  height() {
    const { naturalWidth, naturalHeight } = this.picture;
    if (!naturalWidth) return HINT_HEIGHT + MARGIN;
    return Math.ceil(((this.node.size[0] - MARGIN) * naturalHeight) / naturalWidth) + MARGIN;
  }

  // Fractions of the shown rectangle: right at any zoom.
  pick(event) {
    const shown = this.picture.getBoundingClientRect();
    const across = ((event.clientX - shown.left) / shown.width) * this.frames.length;
    const cell = Math.min(Math.max(Math.floor(across), 0), this.frames.length - 1);
    const inside = (value) => Math.round(1000 * Math.min(Math.max(value, 0), 1)) / 1000;
    setValue(this.node, "frame", this.frames[cell]);
    setValue(this.node, "x", inside(across - cell));
    setValue(this.node, "y", inside((event.clientY - shown.top) / shown.height));
    this.node.graph?.setDirtyCanvas(true, true);
  }

  drawMark() {
    const [frame, x, y] = ["frame", "x", "y"].map((name) => Number(widgetOf(this.node, name)?.value));
    const cell = this.frames.indexOf(frame);
    this.mark.style.display = cell < 0 ? "none" : "block";
    this.mark.style.left = `${(100 * (cell + x)) / this.frames.length}%`;
    this.mark.style.top = `${100 * y}%`;
  }
}

function chained(before, after) {
  return function (...args) {
    const result = before?.apply(this, args);
    after.apply(this, args);
    return result;
  };
}

app.registerExtension({
  name: "exo2ego.attention_map",
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const picker = new Picker(node);
    const height = () => picker.height();
    addElement(node, "ego_frames", picker.root, { getMinHeight: height, getMaxHeight: height });
    for (const name of ["frame", "x", "y"]) {
      const value = widgetOf(node, name);
      if (value) value.callback = chained(value.callback, () => picker.drawMark());
    }
    node.onExecuted = chained(node.onExecuted, (output) => picker.show(output));
    node.onConfigure = chained(node.onConfigure, () => setTimeout(() => picker.show(app.nodeOutputs?.[node.id])));
  },
});
