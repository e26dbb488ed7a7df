// The scene: points, ground, exo camera with its picture, the ego camera's way, its frustum and handles.

import { CanvasView, EGO, EXO, KEY, Picture } from "./canvas_view.js";
import { rangesOf } from "./cloud.js";
import { GlSplatter } from "./gl/gl_splatter.js";
import { dragged, handleAt, handlesOf, TYPED, typedTo } from "./handles.js";
import { along, length, sub } from "./math.js";
import { OrbitCamera } from "./orbit_camera.js";
import { drawCamera, drawGround, drawLine, drawPath } from "./scene_lines.js";
import { pickPoint } from "./splat.js";

const PICK = 8; // pixels
const NEAREST_VIEW = 0.5; // metres

export class OrbitView extends CanvasView {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    super("e2e-orbit", "Scene: drag to look around", () => editor.redraw());
    this.editor = editor;
    this.camera = new OrbitCamera();
    this.splatter = new GlSplatter();
    this.picture = new Picture(this.splatter);
    this.hovered = null;
  }

  /** Draw everything. */
  draw() {
    if (!this.begin()) return;
    const { editor, context, width, height, camera } = this;
    const { scene } = editor;
    this.axes = camera.axes();
    const project = (point) => camera.project(point, width, height, this.axes);
    context.fillStyle = editor.colors.background;
    context.fillRect(0, 0, width, height);
    drawGround(context, scene.ground, project, editor.colors);
    if (scene.cloud) {
      editor.pace.time(() => this.#splat(editor.moving && !this.splatter.isQuick ? editor.pace.haste.share : 1));
      context.drawImage(this.picture.canvas, 0, 0, width, height);
    }
    if (scene.exo) {
      drawCamera(context, scene.exoPose(editor.frame), scene.exo.lens, scene.exo, scene.exoReach, project, EXO, 1.2);
    }
    this.#drawEgo(project);
  }

  #splat(share) {
    const { editor, splatter, width, height } = this;
    const { cloud, plane, spacing } = editor.scene;
    const { eye, forward } = this.axes;
    const onPlane = editor.options.exoPicture && plane?.picture;
    if (this.picture.isOf(cloud, editor.frame, width, height, share, onPlane, ...eye, ...forward)) return;
    splatter.resize(Math.round(width * share), Math.round(height * share));
    splatter.clear();
    const focal = this.camera.focal(splatter.height);
    for (const [start, end] of rangesOf(cloud, editor.frame)) {
      splatter.drawSquares(cloud.positions, cloud.colors, start, end, this.axes, focal, spacing);
    }
    if (onPlane) {
      splatter.drawSquares(plane.positions, plane.colors, 0, plane.colors.length, this.axes, focal, plane.spacing);
    }
    this.picture.update();
  }

  #drawEgo(project) {
    const { editor, context } = this;
    const pose = editor.pose();
    drawPath(context, editor.path(), editor.shown.keyframes, editor.frame, project, EGO, KEY);
    drawCamera(context, pose, editor.lens, editor.shown, 0.12 * this.camera.distance, project, EGO, 2);
    for (const handle of this.#handles()) {
      const [x, y, z] = project(handle.at);
      if (z <= 0) continue;
      const lit = this.hovered === handle.kind;
      if (handle.kind !== "eyes") drawLine(context, [pose.position, handle.at], project, handle.color, lit ? 3 : 1.5);
      context.beginPath();
      context.arc(x, y, lit ? 7 : 5, 0, 2 * Math.PI);
      context.fillStyle = handle.color;
      context.fill();
      context.strokeStyle = "rgba(0, 0, 0, 0.7)";
      context.lineWidth = 1.5;
      context.stroke();
    }
  }

  /** What the handles need to know of the viewer. */
  viewer() {
    const { camera, width, height, axes, editor } = this;
    return {
      axes,
      ground: editor.scene.ground,
      rollLock: editor.options.rollLock,
      focal: camera.focal(height),
      project: (point) => camera.project(point, width, height, axes),
      ray: ([x, y]) => camera.ray(x, y, width, height, axes),
    };
  }

  press(event, from) {
    const { editor, camera } = this;
    if (!this.axes || editor.tool) return this.#look(event, from);
    const viewer = this.viewer();
    const pose = editor.pose();
    const handle = event.button === 0 && !event.shiftKey && this.#handleAt(from);
    if (!handle) return this.#look(event, from);
    return {
      fine: true,
      move: (to) => editor.setPose(dragged(handle, pose, viewer, from, to), { moving: true }),
      end: (moved) => moved && editor.commit(),
      unit: TYPED[handle.kind],
      type: TYPED[handle.kind] && ((value) => {
        editor.setPose(typedTo(handle.kind, pose, viewer.ground, value), { moving: true, snap: false });
      }),
    };
  }

  #handles() {
    const handles = handlesOf(this.editor.pose(), this.editor.scene.ground, this.axes.eye);
    return this.editor.options.rollLock ? handles.filter((one) => one.kind !== "roll") : handles;
  }

  #handleAt(pointer) {
    return handleAt(this.#handles(), this.viewer().project, pointer);
  }

  /** @returns {number[]} where the handle of a kind is, layout pixels */
  placeOfHandle(kind) {
    return this.viewer().project(this.#handles().find((one) => one.kind === kind).at).slice(0, 2);
  }

  // Look around: circle with the left button, pan with any other or with shift.
  #look(event, from) {
    let last = from;
    const pans = event.button !== 0 || event.shiftKey;
    return {
      move: (to) => {
        const [dx, dy] = [to[0] - last[0], to[1] - last[1]];
        if (pans) this.camera.pan(dx, dy, this.height);
        else this.camera.orbit(dx, dy);
        last = to;
        this.editor.redraw(true);
      },
      end: () => this.editor.settle(),
    };
  }

  click(event, at) {
    if (event.button === 0 && this.editor.tool) this.editor.pick(this.pointAt(at));
  }

  hover(event, at) {
    if (!this.axes) return;
    const handle = at && !this.editor.tool ? this.#handleAt(at) : null;
    this.canvas.title = handle?.hint ?? "";
    this.canvas.style.cursor = this.editor.tool ? "crosshair" : handle ? "move" : "grab";
    if ((handle?.kind ?? null) === this.hovered) return;
    this.hovered = handle?.kind ?? null;
    this.redraw();
  }

  wheel(event) {
    this.camera.zoom(Math.exp(0.0012 * event.deltaY));
    this.editor.redraw(true);
    this.editor.settle(200);
  }

  /** @returns {number[] | null} the point of the cloud under the pointer */
  pointAt([x, y]) {
    const { editor, camera, width, height, axes } = this;
    if (!editor.scene.cloud || !axes) return null;
    const project = (point, out) => {
      const [column, row, z] = camera.project(point, width, height, axes);
      [out[0], out[1]] = [column, row];
      return z;
    };
    return pickPoint(editor.scene.cloud, editor.frame, project, x, y, PICK);
  }

  /** Show the whole scene and the exo camera, from aside. */
  showAll() {
    const { scene } = this.editor;
    const toExo = sub(scene.exoPose(0).position, scene.middle);
    this.camera.ground = scene.ground;
    this.camera.yaw = 0.75;
    this.camera.pitch = -0.5;
    this.camera.frame(along(scene.middle, toExo, 0.35), Math.max(NEAREST_VIEW, 1.2 * scene.extent + 0.72 * length(toExo)));
  }

  /** Come near the ego camera. */
  showEgo() {
    const { position } = this.editor.pose();
    const near = length(sub(this.editor.scene.middle, position));
    this.camera.frame(along(position, sub(this.editor.scene.middle, position), 0.25), Math.max(NEAREST_VIEW, 1.1 * near));
  }
}
