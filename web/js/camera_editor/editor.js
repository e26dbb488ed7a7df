// The camera editor: views, timeline and numbers around one trajectory. It knows nothing of ComfyUI; see ../camera_editor.js.

import { element, themeColors } from "./canvas_view.js";
import { applyMove, COMMANDS, copiedText, lookAtPoint, TOOL_HINTS } from "./commands.js";
import { pasteKeys } from "./curves/actions.js";
import { CurveBar } from "./curves/curve_bar.js";
import { CurveView } from "./curves/curve_view.js";
import { readText, TextBox } from "./curves/text_box.js";
import { EgoView } from "./ego_view.js";
import { ExoView } from "./exo_view.js";
import { onLoss } from "./gl/device.js";
import { turnedTo } from "./handles.js";
import { helpOverlay, isOfPage, meaningOf } from "./keys.js";
import { LargeView } from "./large_view.js";
import { clamp, sub } from "./math.js";
import { OrbitView } from "./orbit_view.js";
import { Pace } from "./pace.js";
import { Panel } from "./panel.js";
import { EditorState } from "./state.js";
import { addStyle } from "./style.js";
import { Timeline } from "./timeline.js";
import { Toolbar } from "./toolbar.js";

const FPS = 16; // Wan's own rate, until a run tells the clip's
const TELLING = 4000; // ms that a passing message stays
const FLY = 0.9; // of the distance to the target, a second
const WALK = 0.6; // metres a second of the ego camera

export class Editor extends EditorState {
  /** @param {object} host see `EditorState` */
  constructor(host) {
    super(host);
    addStyle();
    this.playing = false;
    this.tool = null; // "eyes", "gaze" or "lookAt"
    this.moving = false; // while something is dragged: draw quicker
    this.pace = new Pace();
    this.held = new Map(); // keys that fly
    this.#build();
  }

  #build() {
    this.keys = element("textarea", { className: "e2e-keys", readOnly: true, tabIndex: 0 }); // where ComfyUI leaves keys alone
    this.keys.setAttribute("aria-label", "Camera editor: press ? for the keys");
    this.orbit = new OrbitView(this);
    this.ego = new EgoView(this);
    this.exo = new ExoView(this);
    this.timeline = new Timeline(this);
    this.curveBar = new CurveBar(this);
    this.curves = new CurveView(this);
    this.textBox = new TextBox(this);
    this.toolbar = new Toolbar(this);
    this.panel = new Panel(this);
    this.help = helpOverlay(() => this.run("help"));
    this.message = element("div", { className: "e2e-message", role: "status" });
    this.empty = element("div", { className: "e2e-empty" }, element("b", {}, "Run once to see the cloud"), element("span"));
    this.orbit.root.append(this.empty, this.message);
    const views = element("div", { className: "e2e-views" }, this.orbit.root, this.ego.root, this.exo.root);
    const below = [this.toolbar.transport, this.timeline.root, this.curveBar.root, this.curves.root, this.panel.root];
    const body = element("div", { className: "e2e-body" }, this.toolbar.root, views, ...below);
    this.root = element("div", { className: "e2e widget-expands" }, this.keys, body, this.help, this.textBox.root);
    this.root.dataset.captureWheel = "true"; // the Vue renderer would zoom the graph
    this.large = new LargeView(this);
    this.forgetLoss = onLoss(() => this.redraw());
    this.#listen();
  }

  #listen() {
    const { root } = this;
    for (const name of ["pointerdown", "pointermove", "dblclick", "contextmenu", "wheel"]) {
      root.addEventListener(name, (event) => event.stopPropagation()); // the graph would drag, open or zoom
    }
    const typed = (target) => target.matches("input, select, .e2e-text");
    // The browser's own copying and pasting reaches the clipboard wherever the page comes from.
    for (const [name, act] of [["copy", this.#copy], ["paste", this.#paste]]) {
      root.addEventListener(name, (event) => {
        event.stopPropagation(); // the graph would copy or paste nodes
        if (typed(event.target)) return;
        event.preventDefault();
        act.call(this, event.clipboardData);
      });
    }
    const pressed = (event) => event.key === " " && event.target.matches("button"); // as every button is
    root.addEventListener("pointerdown", (event) => typed(event.target) || this.focus());
    // A button that was pressed by the keyboard (`detail` 0) keeps the focus.
    root.addEventListener("click", (event) => typed(event.target) || event.detail === 0 || this.focus());
    root.addEventListener("keydown", (event) => {
      const inField = typed(event.target);
      if (!inField && this.#views.some((view) => view.typed(event.key))) {
        event.preventDefault();
        return event.stopPropagation();
      }
      const meaning = inField || pressed(event) ? null : meaningOf(event);
      if (!isOfPage(event)) event.stopPropagation(); // Ctrl+M, B, G, Alt+C and others act on the graph's nodes
      if (!meaning) return;
      event.preventDefault();
      if (meaning.command) return this.run(meaning.command);
      this.held.set(event.key.toLowerCase(), meaning.fly);
      this.fast = event.shiftKey;
      this.#fly();
    });
    root.addEventListener("keyup", (event) => this.held.delete(event.key.toLowerCase()));
    root.addEventListener("focusout", () => this.held.clear());
  }

  get #views() {
    return [this.orbit, this.ego, this.exo, this.timeline, this.curves];
  }

  #copy(clipboard) {
    this.run("copyKey");
    clipboard?.setData("text/plain", copiedText());
  }

  // Text on the clipboard that is a trajectory counts, else what was copied here.
  #paste(clipboard) {
    const text = clipboard?.getData("text/plain") ?? "";
    try {
      pasteKeys(this, readText(text).keyframes);
    } catch (error) {
      if (text.trim()) this.tell(error.message);
      else this.run("pasteKey");
    }
  }

  /** Let the keyboard act on the editor. */
  focus() {
    this.keys.focus({ preventScroll: true });
  }

  dispose() {
    this.playing = false;
    this.held.clear();
    for (const timer of [this.committing, this.settling, this.forgetting]) clearTimeout(timer);
    cancelAnimationFrame(this.drawing);
    this.large.dispose();
    this.forgetLoss();
    for (const view of this.#views) view.dispose();
  }

  // What the artist does -------------------------------------------------------------------------------------------

  /** Run a command of `commands.js` by its name. */
  run(command) {
    COMMANDS[command](this);
    this.redraw();
  }

  applyMove(name) {
    if (name) applyMove(this, name);
  }

  /** Take a tool into the hand, or put it away (null). */
  take(tool) {
    this.tool = tool;
    this.redraw();
  }

  /** What a click with a tool hit: a world point, or null. */
  pick(point) {
    if (!point) return this.tell("There is no point here. Click where the image shows the cloud.");
    const pose = this.pose();
    if (this.tool === "lookAt") {
      this.tool = null;
      return lookAtPoint(this, point);
    }
    if (this.tool === "eyes") this.setPose({ ...pose, position: point });
    else {
      const level = { ground: this.scene.ground, rollLock: true };
      this.setPose({ ...pose, rotation: turnedTo(pose.rotation, sub(point, pose.position), level) });
    }
    this.tool = this.tool === "eyes" ? "gaze" : null;
    this.commit();
  }

  /** Go to a frame. */
  goTo(frame, moving = false) {
    this.frame = clamp(frame, 0, this.nFrames - 1);
    this.scene.paintPlane(this.frame);
    this.redraw(moving);
  }

  play(playing) {
    this.playing = playing;
    let last = performance.now();
    const tick = (now) => {
      if (!this.playing || !this.root.isConnected) return;
      const fps = this.scene.fps || FPS;
      const frames = Math.floor(((now - last) * fps) / 1000);
      if (frames > 0) {
        const [from, to] = this.loop();
        last += (frames * 1000) / fps;
        const inside = this.frame >= from && this.frame <= to;
        this.goTo(inside ? from + ((this.frame - from + frames) % (to - from + 1)) : from, true);
      }
      requestAnimationFrame(tick);
    };
    if (playing) requestAnimationFrame(tick);
    else this.settle();
  }

  #fly() {
    if (this.flying) return;
    this.flying = true;
    const walks = this.ego.pointer !== null; // over the ego view the keys move its camera
    let last = performance.now();
    const tick = (now) => {
      const seconds = ((now - last) * (this.fast ? 3 : 1)) / 1000;
      last = now;
      for (const direction of this.held.values()) {
        if (walks) this.ego.walk(direction.map((value) => value * WALK * seconds));
        else this.orbit.camera.fly(...direction.map((value) => value * FLY * this.orbit.camera.distance * seconds));
      }
      this.flying = this.held.size > 0;
      this.redraw(this.flying);
      if (this.flying) return requestAnimationFrame(tick);
      if (walks) this.commit();
      this.settle();
    };
    requestAnimationFrame(tick);
  }

  // Drawing --------------------------------------------------------------------------------------------------------

  /** Say something for a few seconds. */
  tell(text) {
    this.said = text;
    clearTimeout(this.forgetting);
    this.forgetting = setTimeout(() => {
      this.said = "";
      this.redraw();
    }, TELLING);
    this.redraw();
  }

  /** Draw with the next frame of the screen; `moving`: in haste, until `settle`. */
  redraw(moving = false) {
    this.moving ||= moving;
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      this.draw();
    });
  }

  /** Draw in full again, after `delay` ms. */
  settle(delay = 0) {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.moving = this.playing;
      this.redraw();
    }, delay);
  }

  draw() {
    if (!this.moving || !this.colors) this.colors = themeColors(this.root);
    const { orbit, ego, exo, timeline, curveBar, curves, toolbar, panel, large } = this;
    for (const part of [large, toolbar, curveBar, orbit, ego, exo, timeline, curves, panel]) part.draw();
    this.#drawMessages();
    this.pace.drawn(this.moving);
  }

  #drawMessages() {
    const { scene, shown } = this;
    this.empty.hidden = Boolean(scene.cloud);
    this.empty.lastChild.textContent =
      this.lost || "The points come from the server: queue the graph, then they stay here while you edit.";
    const beyond = scene.nFrames && shown.keyframes.some((key) => key.frame >= scene.nFrames);
    const notes = [
      this.problem,
      this.host.isLinked?.() ? "The trajectory comes through a link: the keys here do not count. Disconnect it to edit." : "",
      scene.cloud && this.lost ? `The points are those of an earlier run. ${this.lost}` : "",
      beyond ? `The clip ends at frame ${scene.nFrames - 1}: move or delete the keys beyond it.` : "",
      this.said,
      scene.cloud && !shown.keyframes.length ? "No keys yet: the node gives the exo camera, with its own lens. Drag a handle, or press P to place the eyes." : "",
    ];
    const text = TOOL_HINTS[this.tool] ?? notes.filter(Boolean).join("\n");
    this.message.textContent = this.tool && this.said ? `${this.said}\n${text}` : text;
    this.message.classList.toggle("e2e-tool", Boolean(this.tool));
  }

  // For scripts and tests ------------------------------------------------------------------------------------------

  /** @returns {object} what is shown now; `poses()` has the camera */
  state() {
    const { frame, nFrames, text, tool, options, playing, shown } = this;
    const { coverage, coverageFrame, splatter } = this.ego;
    return {
      frame, nFrames, text, tool, playing, options: { ...options }, keyframes: structuredClone(shown.keyframes),
      front: this.large.front, isLarge: this.large.isOpen, selected: [...this.selected].sort((a, b) => a - b),
      loop: this.loop(), fps: this.scene.fps, coverages: Object.fromEntries(this.timeline.coverage.shares),
      lens: this.lens.json, coverage, coverageFrame, egoRows: splatter.height, hasCloud: Boolean(this.scene.cloud),
      renderer: splatter.isQuick ? "WebGL2" : "processor",
      message: this.message.textContent,
    };
  }

  /**
   * Where something is on the screen, for a mouse to go there.
   * @param {object} what `{handle}`, a handle's kind; `{key}`, a key's frame; `{end}`, "start" or "end" of the chosen keys' bar;
   *     `{curve, key, side}`, a key on the curve of a channel, or its handle "in" or "out"; `{view, at}`, a share [x, y] of a view
   * @returns {number[]} client x and y
   */
  placeOf(what) {
    const { handle, key, end, curve, view, at } = what;
    if (curve) return this.curves.toClient(this.curves.placeOf(what));
    if (end) return this.timeline.toClient(this.timeline.placeOfEnd(end));
    if (handle) return this.orbit.toClient(this.orbit.placeOfHandle(handle));
    if (key !== undefined) return this.timeline.toClient(this.timeline.placeOf(key));
    return this[view].toClient([at[0] * this[view].width, at[1] * this[view].height]);
  }
}
