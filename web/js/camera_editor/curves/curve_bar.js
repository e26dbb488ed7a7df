// What is above the curves: which of them are shown, the slopes of the chosen keys, fewer and smoother keys, the text.

import { element } from "../canvas_view.js";
import { numberField } from "../number_field.js";
import { CHANNELS } from "./channels.js";

export class CurveBar {
  /** @param {import("../editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.channels = CHANNELS.map((channel) => this.#channel(channel));
    this.centimetres = this.#tolerance("thinCentimetres", "How far the camera may be from where it was, centimeters");
    this.degrees = this.#tolerance("thinDegrees", "How far it may be turned from how it was, degrees");
    this.root = element(
      "div",
      { className: "e2e-bar e2e-curve-bar", hidden: true },
      ...this.channels.map(({ button }) => button),
      element("span", { className: "e2e-gap" }),
      this.#button("Smooth slopes", "The chosen keys, or all: automatic tangents, turns without a bend", "smoothSlopes"),
      this.#button("Flat", "The chosen keys, or all: the camera comes to rest there", "flatSlopes"),
      this.#button("Plain", "The chosen keys, or all: as keys begin, with the easing of the fields below", "plainSlopes"),
      element("span", { className: "e2e-gap" }),
      element("label", { className: "e2e-metres" }, "within", this.centimetres, "cm"),
      element("label", { className: "e2e-metres" }, this.degrees, "°"),
      this.#button("Thin out", "As few keys as it takes to stay within cm and degrees at every frame", "thin"),
      this.#button("Smooth", "Take noise out of the keys; none moves farther than cm and degrees", "smooth"),
      element("span", { className: "e2e-gap" }),
      this.#button("As text", "The trajectory as text: copy it, or paste another (Ctrl+C and Ctrl+V copy keys)", "asText"),
    );
  }

  draw() {
    const { options } = this.editor;
    this.root.hidden = !options.curves;
    const hidden = options.hiddenChannels.split(",");
    for (const { button, name } of this.channels) button.setAttribute("aria-pressed", String(!hidden.includes(name)));
    if (document.activeElement !== this.centimetres) this.centimetres.value = String(options.thinCentimetres);
    if (document.activeElement !== this.degrees) this.degrees.value = String(options.thinDegrees);
  }

  #button(label, title, command) {
    const button = element("button", { type: "button", title }, label);
    button.dataset.command = command;
    button.addEventListener("click", () => this.editor.run(command));
    return button;
  }

  // A click shows or hides one curve; with Alt it shows this one alone.
  #channel({ name, color }) {
    const { editor } = this;
    const button = element("button", { type: "button", title: `Show or hide the curve of ${name}; with Alt this one alone` }, name);
    button.style.setProperty("--channel", color);
    button.className = "e2e-channel";
    button.addEventListener("click", (event) => {
      const hidden = new Set(editor.options.hiddenChannels.split(",").filter(Boolean));
      if (event.altKey) for (const other of CHANNELS) hidden[other.name === name ? "delete" : "add"](other.name);
      else if (!hidden.delete(name)) hidden.add(name);
      editor.setOption("hiddenChannels", [...hidden].join(","));
    });
    return { button, name };
  }

  #tolerance(option, title) {
    const { editor } = this;
    return numberField({
      title, step: 0.1, min: 0.01, digits: 2, write: (value) => value > 0 && editor.setOption(option, value),
      leave: () => editor.focus(), redraw: () => editor.redraw(),
    });
  }
}
