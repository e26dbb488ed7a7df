// The trajectory as text, over the editor: to copy, to edit, to paste another one.

import { element } from "../canvas_view.js";
import { lensOf } from "../presets.js";
import { readTrajectory } from "../trajectory.js";

export class TextBox {
  /** @param {import("../editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.field = element("textarea", { className: "e2e-text", spellcheck: false });
    this.field.setAttribute("aria-label", "The trajectory as text");
    this.fault = element("div", { className: "e2e-fault", role: "alert" });
    const button = (label, title, act) => element("button", { type: "button", title, onclick: act }, label);
    this.root = element(
      "div",
      { className: "e2e-text-box", hidden: true },
      element("b", {}, "The trajectory as text"),
      this.field,
      this.fault,
      element(
        "div",
        { className: "e2e-bar" },
        button("Copy", "Copy the whole text", () => this.#copy()),
        button("Use this text", "Replace keys, lens and size by what stands here", () => this.#take()),
        button("Close", "Leave the trajectory as it is (Esc)", () => this.close()),
      ),
    );
    this.root.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    this.field.addEventListener("input", () => (this.fault.textContent = ""));
  }

  open() {
    this.field.value = this.editor.asText();
    this.fault.textContent = "";
    this.root.hidden = false;
    this.field.focus();
    this.field.select();
  }

  close() {
    this.root.hidden = true;
    this.editor.focus();
  }

  // Where pages may not reach the clipboard (no https), the chosen text is copied as Ctrl+C does.
  async #copy() {
    this.field.select();
    try {
      await navigator.clipboard.writeText(this.field.value);
    } catch {
      document.execCommand("copy");
    }
  }

  #take() {
    try {
      this.editor.edit(readText(this.field.value));
      this.close();
    } catch (error) {
      this.fault.textContent = error.message;
    }
  }
}

/**
 * Read a trajectory that somebody pasted.
 * @returns {import("../trajectory.js").Trajectory}
 * @throws {Error} says what was expected, and what is wrong
 */
export function readText(text) {
  const not = "This text is not a trajectory as the camera editor copies it";
  if (!text.trim()) throw new Error(`${not}: it is empty.`);
  try {
    const made = readTrajectory(text);
    lensOf(made.lens, made.width, made.height);
    return made;
  } catch (error) {
    throw new Error(error instanceof SyntaxError ? `${not}: it is not JSON (${error.message}).` : `${not}. ${error.message}`);
  }
}
