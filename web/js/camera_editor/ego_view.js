// What the ego camera sees of the cloud, through the chosen lens, and how much of its picture that covers.

import { CanvasView, element, Picture } from "./canvas_view.js";
import { EgoOverlay } from "./ego_overlay.js";
import { GlSplatter } from "./gl/gl_splatter.js";
import { anglesOf, rotationOf } from "./ground.js";
import { along, clamp, quatAxes } from "./math.js";

const AT_REST = { rows: 448, step: 1 }; // a picture as EgoX's, of all points
const WIDEST = 4; // times as wide as high: the pictures of wider ones have fewer rows
const MOST_PITCH = 89.5; // degrees
const METRES_PER_PIXEL = 0.004;

/**
 * How much larger a picture is drawn than it is. Discs grow with it, so the covered share does not depend on it.
 * @param {number} rows wanted
 * @param {number} width of the ego picture, pixels
 * @param {number} height
 * @returns {number}
 */
export const scaleTo = (rows, width, height) => Math.min(rows / height, (WIDEST * rows) / width);

/** @returns {string} a covered share in words; of a part of the points it is near what all of them cover */
export const coverageText = (share, isPart) =>
  isPart ? `covered about ${Math.round(100 * share)} %` : `covered ${(100 * share).toFixed(1)} %`;

export class EgoView extends CanvasView {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    super("e2e-ego", "Ego view: drag to turn the gaze", () => editor.redraw());
    this.editor = editor;
    this.splatter = new GlSplatter();
    this.picture = new Picture(this.splatter);
    this.coverage = null; // share, 0 to 1
    this.coverageFrame = null; // the frame that it is of
    this.step = 1; // of the points that are drawn
    this.badge = element("div", { className: "e2e-badge" });
    this.overlay = new EgoOverlay(editor);
    this.root.append(element("div", { className: "e2e-caption" }, "Ego view"), this.badge, this.overlay.choice);
    this.canvas.style.cursor = "grab";
  }

  draw() {
    if (!this.begin()) return;
    const { editor, context } = this;
    const { width, height } = editor.shown;
    context.fillStyle = editor.colors.background;
    context.fillRect(0, 0, this.width, this.height);
    const fit = Math.min(this.width / width, this.height / height);
    this.box = [(this.width - width * fit) / 2, (this.height - height * fit) / 2, width * fit, height * fit];
    context.fillStyle = "#000";
    context.fillRect(...this.box);
    if (!editor.scene.cloud) {
      this.coverage = this.coverageFrame = null;
      this.badge.textContent = "";
      return;
    }
    this.#splat(width, height);
    context.drawImage(this.picture.canvas, ...this.box);
    this.overlay.draw(context, this.box, (splatter, key, rows) => this.#draw(splatter, key.frame, key, rows, 1));
    this.#drawMiddle();
    // Without keys the node gives the exo camera with its own lens, which covers something else.
    this.badge.textContent = editor.shown.keyframes.length ? coverageText(this.coverage, editor.scene.thinned || this.step > 1) : "";
    this.badge.classList.toggle("e2e-low", this.coverage < 0.05);
  }

  #splat(width, height) {
    const { editor, splatter } = this;
    const { moving, frame, lens, scene } = editor;
    const pose = editor.pose();
    const near = editor.near();
    const { rows, step } = moving && !splatter.isQuick ? editor.pace.haste : AT_REST;
    if (this.picture.isOf(scene.cloud, rows, step, frame, lens, width, height, near, ...pose.position, ...pose.rotation)) return;
    editor.pace.time(() => {
      this.#draw(splatter, frame, pose, rows, step);
      this.coverage = splatter.coverage();
      this.picture.update();
    });
    [this.step, this.coverageFrame] = [step, frame];
  }

  // What a camera sees of a frame, in a picture of so many rows, of every `step`th point.
  #draw(splatter, frame, pose, rows, step) {
    const { shown, scene } = this.editor;
    const share = scaleTo(rows, shown.width, shown.height);
    splatter.resize(...[shown.width, shown.height].map((side) => Math.max(1, Math.round(side * share))));
    splatter.clear();
    splatter.drawDiscs(scene.cloud, frame, pose, this.#lens(share), step, this.editor.near());
  }

  // The lens at the picture's own resolution, made once for each.
  #lens(share) {
    if (this.lensOf !== this.editor.lens) [this.lensOf, this.scaledLenses] = [this.editor.lens, new Map()];
    if (!this.scaledLenses.has(share)) this.scaledLenses.set(share, this.editor.lens.scaled(share));
    return this.scaledLenses.get(share);
  }

  #drawMiddle() {
    const { context, box } = this;
    const [x, y] = [box[0] + box[2] / 2, box[1] + box[3] / 2];
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 4 * dx, y + 4 * dy);
      context.lineTo(x + 10 * dx, y + 10 * dy);
    }
    context.strokeStyle = "rgba(255, 255, 255, 0.8)";
    context.lineWidth = 1;
    context.stroke();
  }

  press(event, from) {
    const { editor } = this;
    if (!this.box) return null;
    const pose = editor.pose();
    const moves = event.button !== 0 || event.shiftKey;
    return {
      fine: true,
      move: (to) => editor.setPose(moves ? this.#moved(pose, from, to) : this.#turned(pose, from, to), { moving: true }),
      end: (moved) => moved && editor.commit(),
      unit: moves ? "m to the right" : "\u00b0 to the right",
      type: (value) => {
        const went = moves ? walked(pose, editor.scene.ground, [value, 0, 0]) : this.#yawed(pose, value);
        editor.setPose(went, { moving: true, snap: false });
      },
    };
  }

  /** Move the camera by metres to the right, up and ahead. */
  walk(way) {
    const { editor } = this;
    editor.setPose(walked(editor.pose(), editor.scene.ground, way), { moving: true });
  }

  #yawed(pose, degrees) {
    const { ground } = this.editor.scene;
    const [yaw, pitch, roll] = anglesOf(ground, pose.rotation);
    return { ...pose, rotation: rotationOf(ground, [yaw + degrees, pitch, roll]) };
  }

  #moved(pose, from, to) {
    const { right, down } = quatAxes(pose.rotation);
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    return { ...pose, position: along(pose.position, right, -dx * METRES_PER_PIXEL, down, -dy * METRES_PER_PIXEL) };
  }

  // What was under the pointer follows it.
  #turned(pose, from, to) {
    const [before, after] = [from, to].map(([x, y]) => {
      const scale = this.editor.shown.width / this.box[2];
      const ray = this.editor.lens.unproject((x - this.box[0]) * scale, (y - this.box[1]) * scale);
      return [Math.atan2(ray[0], ray[2]), Math.atan2(-ray[1], Math.hypot(ray[0], ray[2]))];
    });
    const degrees = 180 / Math.PI;
    const { scene, options } = this.editor;
    const [yaw, pitch, roll] = anglesOf(scene.ground, pose.rotation);
    const turned = [
      yaw + (before[0] - after[0]) * degrees,
      clamp(pitch + (before[1] - after[1]) * degrees, -MOST_PITCH, MOST_PITCH),
      options.rollLock ? 0 : roll,
    ];
    return { ...pose, rotation: rotationOf(scene.ground, turned) };
  }

  wheel(event) {
    const pose = this.editor.pose();
    const { forward } = quatAxes(pose.rotation);
    const position = along(pose.position, forward, -0.0006 * event.deltaY);
    this.editor.setPose({ ...pose, position }, { moving: true });
    this.editor.commitSoon();
  }
}

function walked(pose, ground, [right, up, ahead]) {
  const axes = quatAxes(pose.rotation);
  return { ...pose, position: along(pose.position, axes.right, right, ground.up, up, axes.forward, ahead) };
}
