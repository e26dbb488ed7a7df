// The state behind the editor: the trajectory as it is shown, its history, and the scene that it is shown in.

import { atHeight } from "./ground.js";
import { turnedTo } from "./handles.js";
import { quatAxes } from "./math.js";
import { lensOf } from "./presets.js";
import { Scene } from "./scene.js";
import { emptyTrajectory, History, poseAt, readTrajectory, withKey, worldToCamera, writeTrajectory } from "./trajectory.js";

const FRAMES = 49; // before a run tells the clip's length
const DRAWN_FRAMES = 10_000; // of a way: beyond any clip a key may lie far out
const SMALL_EDITS = 350; // ms without another one, and they are stored

/** Needs `redraw`, `settle`, `tell` and `goTo` of the class that extends it. */
export class EditorState {
  /**
   * @param {object} host
   * @param {(text: string) => void} host.write stores the trajectory's text
   * @param {() => boolean} [host.isLinked] whether the text comes from another node, so that edits here do not count
   * @param {() => number | null} [host.near] the node's own number, or null where it comes through a link
   * @param {(metres: number) => void} [host.setNear] stores it
   * @param {() => boolean} [host.startIsLinked] whether a camera to start from is connected
   * @param {(view: object) => void} host.keepView stores what is no part of the trajectory: options, where one looks from
   */
  constructor(host) {
    this.host = host;
    this.scene = new Scene();
    this.frame = 0;
    this.options = {
      rollLock: true, eyeSnap: false, eyeHeight: 1.6, exoPicture: true, loopFrom: 0, loopTo: -1,
      front: "orbit", largeFront: "ego", overlay: "none",
      curves: false, hiddenChannels: "", thinCentimetres: 1, thinDegrees: 1,
    };
    /** Frames of the keys that are chosen. @type {Set<number>} */
    this.selected = new Set();
    this.history = new History("");
    this.problem = "";
    this.#show(emptyTrajectory());
  }

  // What comes in --------------------------------------------------------------------------------------------------

  /** Take the widget's text; an edit of our own comes back unchanged and is left alone. */
  loadText(text) {
    if (text === this.text) return;
    this.#take(text);
    this.history.reset(text);
    this.redraw();
  }

  #take(text) {
    clearTimeout(this.committing); // of what is shown no more
    this.committing = null;
    this.text = text;
    try {
      this.#show(readTrajectory(text));
      this.problem = "";
    } catch (error) {
      this.problem = `The trajectory's text cannot be read, and the next edit replaces it. ${error.message}`;
      this.#show(emptyTrajectory());
    }
  }

  /** Take what `host.keepView` stored. */
  loadView(view) {
    for (const [name, value] of Object.entries(this.options)) {
      if (typeof view?.options?.[name] === typeof value) this.options[name] = view.options[name];
    }
    this.hasView = this.orbit.camera.restore(view?.orbit);
    this.redraw();
  }

  /**
   * Take what a run of the node sent.
   * @param {object | undefined} payload `ui.exo2ego_editor[0]`
   * @param {(reference: object) => string} address of a file of it
   * @returns {Promise<void>} done when the cloud is there or known to be lost
   */
  async loadPayload(payload, address) {
    const sent = JSON.stringify(payload);
    if (!payload || sent === this.sent) return;
    this.sent = sent;
    try {
      const scene = await Scene.load(payload, address);
      if (sent !== this.sent) return; // a newer one came meanwhile
      const first = !this.scene.cloud && !this.hasView;
      this.scene = scene;
      this.lost = "";
      this.orbit.camera.ground = scene.ground;
      if (first) this.orbit.showAll();
      this.#show(this.trajectory);
      this.goTo(this.frame);
    } catch (error) {
      if (sent !== this.sent) return;
      [this.lost, this.sent] = [error.message, null];
      if (error.scene && !this.scene.cloud) {
        this.scene = error.scene;
        this.#show(this.trajectory);
      }
      this.redraw();
    }
  }

  // The trajectory ---------------------------------------------------------------------------------------------------

  // `trajectory` is what the text says; `shown` is that, or the start camera while the text has no keys.
  #show(trajectory) {
    this.trajectory = trajectory;
    this.shown = trajectory.keyframes.length || !this.scene.start ? trajectory : this.scene.start;
    this.#changed();
  }

  #changed() {
    const { lens, width, height } = this.shown;
    const wanted = JSON.stringify([lens, width, height, Object.keys(this.scene.lenses).length]);
    if (wanted !== this.lensWanted) {
      this.lensWanted = wanted;
      this.lens = lensOf(lens, width, height, this.scene.lenses);
    }
    const last = this.shown.keyframes.at(-1)?.frame ?? 0;
    this.nFrames = Math.max(this.scene.nFrames || FRAMES, last + 1);
    this.wholePath = null;
    const frames = new Set(this.shown.keyframes.map((key) => key.frame));
    this.selected = new Set([...this.selected].filter((frame) => frames.has(frame)));
  }

  /** Choose the keys at some frames; `more`: beside those that are chosen. */
  select(frames, more = false) {
    const had = more ? [...this.selected] : [];
    this.selected = new Set([...had, ...frames].filter((frame) => this.shown.keyframes.some((key) => key.frame === frame)));
    this.redraw();
  }

  /** Choose a key, or choose it no more. */
  toggle(frame) {
    if (!this.selected.delete(frame)) this.select([frame], true);
    this.redraw();
  }

  /** @returns {import("./trajectory.js").Keyframe[]} the chosen keys, sorted */
  chosenKeys() {
    return this.shown.keyframes.filter((key) => this.selected.has(key.frame));
  }

  /** @returns {string} the trajectory as it is shown, as text */
  asText() {
    return writeTrajectory(this.shown);
  }

  /** Show an edited trajectory, with other keys chosen, while something is dragged. It is stored by `commit`. */
  try(trajectory, chosen = this.selected) {
    this.shown = trajectory;
    this.selected = chosen;
    this.#changed();
    this.redraw(true);
  }

  /** @returns {number} metres around the ego camera in which points are not drawn: the node's input, or what its last run had */
  near() {
    return this.host.near?.() ?? this.scene.near;
  }

  /** @returns {number[]} the first and last frame that playing repeats */
  loop() {
    const last = this.nFrames - 1;
    const to = this.options.loopTo < 0 ? last : Math.min(this.options.loopTo, last);
    return [Math.min(Math.max(this.options.loopFrom, 0), to), to];
  }

  /** @returns {import("./trajectory.js").Pose} of the ego camera, now or at a frame */
  pose(frame = this.frame) {
    if (!this.shown.keyframes.length) return this.scene.exoPose(0);
    return poseAt(this.shown.keyframes, frame);
  }

  /** @returns {import("./trajectory.js").Keyframe | undefined} at the frame of now */
  key() {
    return this.shown.keyframes.find((key) => key.frame === this.frame);
  }

  /** @returns {number[][]} positions of all frames, `DRAWN_FRAMES` at most; none for a camera that stands still */
  path() {
    const length = this.shown.keyframes.length > 1 ? Math.min(this.nFrames, DRAWN_FRAMES) : 0;
    this.wholePath ??= Array.from({ length }, (_, frame) => this.pose(frame).position);
    return this.wholePath;
  }

  /** @returns {number[][][]} world-to-camera matrices as the node makes them: of every frame, or one for a fixed camera */
  poses() {
    const count = this.shown.keyframes.length > 1 ? this.nFrames : 1;
    return Array.from({ length: count }, (_, frame) => worldToCamera(this.pose(frame)));
  }

  /** Move the camera at the frame of now, which makes a key there. It is stored by `commit`. */
  setPose(pose, { moving = false, snap = true } = {}) {
    const before = this.pose().position;
    const went = pose.position.some((value, axis) => value !== before[axis]);
    let { position } = pose;
    if (snap && went && this.options.eyeSnap) position = atHeight(this.scene.ground, position, this.options.eyeHeight);
    this.shown = withKey(this.shown, this.frame, { position, rotation: pose.rotation });
    this.#changed();
    this.redraw(moving);
  }

  /** Show again what is stored. */
  revert() {
    this.#show(this.trajectory);
    this.settle();
  }

  /** Replace the trajectory by an edited one and store it. */
  edit(trajectory, chosen = this.selected) {
    this.shown = trajectory;
    this.selected = chosen;
    this.commit();
  }

  /** Store what is shown: in the history and with the host. */
  commit() {
    clearTimeout(this.committing);
    this.committing = null;
    this.text = writeTrajectory(this.shown);
    this.problem = "";
    this.#show(this.shown);
    this.history.push(this.text);
    this.#keepView(); // first: both are one step of the graph's undo
    this.host.write(this.text);
    this.settle();
  }

  /** Store at once what `commitSoon` would store. */
  flush() {
    if (this.committing) this.commit();
  }

  /** Store it when a run of small edits has ended. */
  commitSoon() {
    clearTimeout(this.committing);
    this.committing = setTimeout(() => this.commit(), SMALL_EDITS);
  }

  /** Undo (-1) or redo (1). */
  step(steps) {
    const text = this.history.go(steps);
    if (text === null) return this.tell(steps < 0 ? "Nothing to undo." : "Nothing to redo.");
    this.#take(text); // an unreadable one is there where the history began with it
    this.host.write(text);
    this.redraw();
  }

  /** Change an option, which is stored with the view. */
  setOption(name, value) {
    this.options[name] = value;
    const pose = this.pose();
    if (name === "rollLock" && value && this.key()) {
      const { forward } = quatAxes(pose.rotation);
      this.setPose({ ...pose, rotation: turnedTo(pose.rotation, forward, { ground: this.scene.ground, rollLock: true }) });
      this.commit();
    }
    this.#keepView();
    this.redraw();
  }

  #keepView() {
    this.host.keepView({ orbit: this.orbit.camera.state(), options: { ...this.options } });
  }
}
