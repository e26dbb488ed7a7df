// The buttons above the views and beside the timeline.

import { element } from "./canvas_view.js";
import { icon } from "./icons.js";
import { MOVES } from "./moves.js";
import { numberField } from "./number_field.js";

export class Toolbar {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.toggles = [];
    const { options } = editor;
    this.height = numberField({
      title: "Eye height above the ground, metres", step: 0.05, min: 0.05, digits: 2,
      write: (value) => value > 0 && editor.setOption("eyeHeight", value),
      leave: () => editor.focus(), redraw: () => editor.redraw(),
    });
    this.frame = numberField({
      title: "Frame", min: 0, digits: 0, write: (value) => editor.goTo(Math.round(value)),
      leave: () => editor.focus(), redraw: () => editor.redraw(),
    });
    this.largeButton = this.#button("large", "Full screen, the ego view in front (Z)", "large");
    this.root = element(
      "div",
      { className: "e2e-bar" },
      this.#toggle("place", "Place eyes", "Click where the eyes are, then where they look (P)", () => editor.tool === "eyes" || editor.tool === "gaze", "place"),
      this.#toggle("gaze", "Look at", "Click a point: all keys look at it (L)", () => editor.tool === "lookAt", "lookAt"),
      this.#presets(),
      element("span", { className: "e2e-gap" }),
      this.#toggle("rollLock", "Level", "Roll lock: the horizon stays level (R)", () => options.rollLock, "rollLock"),
      this.#toggle("eyeHeight", "Eye height", "Snap the eyes to a height above the ground (H)", () => options.eyeSnap, "eyeSnap"),
      element("label", { className: "e2e-metres" }, this.height, "m"),
      element("span", { className: "e2e-gap" }),
      this.#button("undo", "Undo (Ctrl+Z)", "undo"),
      this.#button("redo", "Redo (Ctrl+Shift+Z)", "redo"),
      this.#button("all", "Show the whole scene (G)", "showAll"),
      this.#button("help", "Keyboard and mouse (?)", "help"),
      element("span", { className: "e2e-far" }),
      this.largeButton,
    );
    this.playing = this.#button("play", "Play (Space)", "play");
    this.transport = element(
      "div",
      { className: "e2e-transport" },
      this.#button("first", "First frame (Home)", "first"),
      this.#button("previousKey", "Previous key (,)", "previousKey"),
      this.playing,
      this.#button("nextKey", "Next key (.)", "nextKey"),
      this.#button("last", "Last frame (End)", "last"),
      element("label", { className: "e2e-metres", title: "Frame" }, "frame", this.frame),
      this.#button("loopFrom", "Loop from here; again: from the start (I)", "loopFrom"),
      this.#button("loopTo", "Loop to here; again: to the end (O)", "loopTo"),
      element("span", { className: "e2e-gap" }),
      this.#button("setKey", "Set a key here (K)", "setKey"),
      this.#button("deleteKey", "Delete the key here (Delete)", "deleteKey"),
      this.#button("copy", "Copy the chosen keys, or the pose (Ctrl+C)", "copyKey"),
      this.#button("paste", "Paste them here (Ctrl+V)", "pasteKey"),
      element("span", { className: "e2e-gap" }),
      this.#toggle("curves", "Curves", "Curves of position and direction; thin out and smooth keys (C)", () => options.curves, "curves"),
    );
  }

  /** Show what is on. */
  draw() {
    for (const { button, isOn } of this.toggles) button.setAttribute("aria-pressed", String(Boolean(isOn())));
    if (document.activeElement !== this.height) this.height.value = String(this.editor.options.eyeHeight);
    if (document.activeElement !== this.frame || this.editor.playing) this.frame.value = String(this.editor.frame);
    setIcon(this.playing, this.editor.playing ? "pause" : "play");
    setIcon(this.largeButton, this.editor.large.isOpen ? "small" : "large");
  }

  #button(picture, title, command, ...label) {
    const button = element("button", { type: "button", title }, icon(picture), ...label);
    button.setAttribute("aria-label", title);
    button.dataset.command = command;
    button.addEventListener("click", () => this.editor.run(command));
    return button;
  }

  #toggle(picture, label, title, isOn, command) {
    const button = this.#button(picture, title, command, label);
    this.toggles.push({ button, isOn });
    return button;
  }

  #presets() {
    const entries = Object.entries(MOVES).map(([name, { label }]) => element("option", { value: name }, label));
    const select = element("select", { title: "Make a whole trajectory" }, element("option", { value: "" }, "Presets"), ...entries);
    select.setAttribute("aria-label", "Presets");
    select.addEventListener("change", () => {
      this.editor.applyMove(select.value);
      select.value = "";
      this.editor.focus();
    });
    return select;
  }
}

function setIcon(button, name) {
  if (button.dataset.icon === name) return;
  button.dataset.icon = name;
  button.replaceChildren(icon(name));
}
