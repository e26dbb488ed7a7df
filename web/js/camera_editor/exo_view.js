// The exo picture with the ego camera drawn into it; with a tool in hand, a click takes the point that it shows.

import { CanvasView, EGO, element, KEY } from "./canvas_view.js";
import { dot, quatAxes, sub } from "./math.js";
import { drawCamera, drawPath } from "./scene_lines.js";
import { pickPoint } from "./splat.js";

const PICK = 7; // pixels of the shown picture
const FRUSTUM = 0.3; // metres

export class ExoView extends CanvasView {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    super("e2e-exo", "Exo image", () => editor.redraw());
    this.editor = editor;
    this.out = new Float64Array(2);
    this.root.append(element("div", { className: "e2e-caption" }, "Exo view"));
  }

  draw() {
    if (!this.begin()) return;
    const { editor, context } = this;
    const { exo } = editor.scene;
    context.fillStyle = editor.colors.background;
    context.fillRect(0, 0, this.width, this.height);
    this.canvas.style.cursor = editor.tool ? "crosshair" : "default";
    if (!exo) return;
    this.fit = Math.min(this.width / exo.width, this.height / exo.height);
    this.left = (this.width - exo.width * this.fit) / 2;
    this.top = (this.height - exo.height * this.fit) / 2;
    const box = [this.left, this.top, exo.width * this.fit, exo.height * this.fit];
    const picture = editor.scene.pictureAt(editor.frame);
    if (picture) context.drawImage(picture, ...box);
    context.save();
    context.beginPath();
    context.rect(...box);
    context.clip();
    const project = this.#projector();
    drawPath(context, editor.path(), editor.shown.keyframes, editor.frame, project, EGO, KEY);
    drawCamera(context, editor.pose(), editor.lens, editor.shown, FRUSTUM, project, EGO, 1.5);
    context.restore();
  }

  // World points to layout pixels and depth.
  #projector() {
    const { exo } = this.editor.scene;
    const pose = this.editor.scene.exoPose(this.editor.frame);
    const { right, down, forward } = quatAxes(pose.rotation);
    return (point) => {
      const off = sub(point, pose.position);
      const z = dot(forward, off);
      if (!exo.lens.project(dot(right, off), dot(down, off), z, this.out)) return [0, 0, -1];
      return [this.left + this.out[0] * this.fit, this.top + this.out[1] * this.fit, z];
    };
  }

  click(event, [x, y]) {
    const { editor } = this;
    if (event.button !== 0 || !editor.tool || !editor.scene.cloud) return;
    const project = this.#projector();
    const found = pickPoint(editor.scene.cloud, editor.frame, (point, out) => {
      const [column, row, z] = project(point);
      [out[0], out[1]] = [column, row];
      return z;
    }, x, y, PICK);
    editor.pick(found);
  }
}
