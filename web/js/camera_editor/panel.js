// The numbers below the timeline: pose, easing, lens and picture size. Each takes typing, arrow keys and the wheel.

import { element } from "./canvas_view.js";
import { anglesOf, atHeight, heightOver, rotationOf } from "./ground.js";
import { fovOf, PINHOLE, pinholeOfFov, PRESETS } from "./presets.js";
import { numberField } from "./number_field.js";
import { withKey } from "./trajectory.js";

const OWN = "own coefficients";
const MOST_NEAR = 10; // metres, as the node's input
const SIDES = { min: 16, max: 8192, step: 16 };

/** @typedef {{label: string, title: string, digits: number, step: number, read: () => number | null, write: (value: number) => void}} Field */

export class Panel {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.inputs = [];
    this.root = element(
      "div",
      { className: "e2e-panel" },
      this.#group("Position", [0, 1, 2].map((axis) => this.#position(axis)), this.#height()),
      this.#group("Direction", [0, 1, 2].map((which) => this.#angle(which))),
      this.#group("Ease", ["in", "out"].map((side) => this.#ease(side))),
      this.#lensGroup(),
      this.#group("Near", this.#near()),
    );
  }

  /** Show the numbers of now; a field that is being typed in stays as it is. */
  draw() {
    for (const { input, field } of this.inputs) {
      if (document.activeElement === input) continue;
      const value = field.read();
      input.disabled = value === null || Boolean(field.isFixed?.());
      if (field.label === "fov") input.parentElement.hidden = value === null;
      input.value = value === null ? "" : String(Number(value.toFixed(field.digits)));
    }
    const name = this.#lensName();
    if (document.activeElement !== this.lens) this.lens.value = name;
    this.lens.options[PRESETS.length].hidden = name !== OWN;
  }

  #lensName() {
    const { lens } = this.editor.shown;
    return lens.preset ?? (lens.type === "pinhole" ? PINHOLE : OWN);
  }

  #group(name, ...fields) {
    const inputs = fields.flat().map((field) => this.#input(field));
    return element("fieldset", {}, element("legend", {}, name), ...inputs);
  }

  /** @param {Field} field */
  #input(field) {
    const { label, title } = field;
    const { editor } = this;
    const input = numberField({ ...field, leave: () => editor.focus(), redraw: () => editor.redraw() });
    this.inputs.push({ input, field });
    return element("label", { title }, element("span", {}, label), input);
  }

  #position(axis) {
    const { editor } = this;
    const name = ["x (right)", "y (down)", "z (forward)"][axis];
    return {
      label: "xyz"[axis], digits: 4, step: 0.05,
      title: `Position of the eyes in the world, metres: ${name} of the exo camera's world`,
      read: () => editor.pose().position[axis],
      write: (value) => {
        const position = [...editor.pose().position];
        position[axis] = value;
        // A typed number counts as it is: no snap.
        editor.setPose({ ...editor.pose(), position }, { snap: false });
        editor.commit();
      },
    };
  }

  #height() {
    const { editor } = this;
    return {
      label: "height", digits: 3, step: 0.05, title: "Height of the eyes above the ground, metres",
      read: () => heightOver(editor.scene.ground, editor.pose().position),
      write: (value) => {
        const pose = editor.pose();
        editor.setPose({ ...pose, position: atHeight(editor.scene.ground, pose.position, value) }, { snap: false });
        editor.commit();
      },
    };
  }

  #angle(which) {
    const { editor } = this;
    const sense = ["to the right", "up", "clockwise as the eye sees it"][which];
    return {
      label: ["yaw", "pitch", "roll"][which], digits: 2, step: 1, title: `Degrees ${sense}, over the ground`,
      read: () => anglesOf(editor.scene.ground, editor.pose().rotation)[which],
      write: (value) => {
        const pose = editor.pose();
        const angles = anglesOf(editor.scene.ground, pose.rotation);
        angles[which] = value;
        editor.setPose({ ...pose, rotation: rotationOf(editor.scene.ground, angles) }, { snap: false });
        editor.commit();
      },
    };
  }

  #ease(side) {
    const { editor } = this;
    const what = side === "in" ? "arrives at" : "leaves";
    return {
      label: side, digits: 2, step: 0.1, min: 0, max: 1,
      title: `How softly the camera ${what} this key: 0 even speed, 1 to rest`,
      read: () => editor.key()?.[`ease_${side}`] ?? null,
      write: (value) => {
        const key = editor.key();
        const eases = { [`ease_${side}`]: Math.min(Math.max(value, 0), 1) };
        if (key) editor.edit(withKey(editor.shown, key.frame, key, { ...key, ...eases }));
      },
    };
  }

  #near() {
    const { editor } = this;
    return {
      label: "m", digits: 2, step: 0.05, min: 0, max: MOST_NEAR,
      title: "Metres around the eyes in which points are not drawn: 0.25 takes out the actor's own hair and cheek",
      read: () => editor.near(),
      isFixed: () => editor.host.near?.() == null,
      write: (value) => editor.host.setNear?.(Math.min(Math.max(value, 0), MOST_NEAR)),
    };
  }

  #lensGroup() {
    const { editor } = this;
    const changed = (change) => editor.edit({ ...editor.shown, ...change });
    const options = [...PRESETS, OWN].map((name) => element("option", { value: name }, name));
    this.lens = element("select", { title: "Lens of the ego camera" }, ...options);
    this.lens.setAttribute("aria-label", "Lens of the ego camera");
    this.lens.addEventListener("change", () => {
      changed({ lens: { preset: this.lens.value } });
      editor.focus();
    });
    const fov = {
      label: "fov", digits: 2, step: 1, min: 1, max: 179, title: "Horizontal field of view of the pinhole, degrees",
      read: () => (this.#lensName() === PINHOLE ? fovOf(editor.lens.json, editor.shown.width) : null),
      write: (value) => {
        const { width, height } = editor.shown;
        changed({ lens: pinholeOfFov(Math.min(Math.max(value, 1), 179), width, height) });
      },
    };
    const side = (name) => ({
      label: name === "width" ? "w" : "h", digits: 0, title: `${name} of the ego image, pixels`, ...SIDES,
      read: () => editor.shown[name],
      write: (value) => changed(resized(editor.shown, name, Math.min(Math.max(Math.round(value), 1), SIDES.max))),
    });
    const group = this.#group("Lens", fov, side("width"), side("height"));
    group.children[0].after(this.lens);
    return group;
  }
}

// A pinhole keeps its field of view and stays centered; another lens of its own keeps its numbers.
function resized(trajectory, side, value) {
  const { lens, width } = trajectory;
  const size = { width, height: trajectory.height, [side]: value };
  if (lens.type !== "pinhole") return size;
  return { ...size, lens: pinholeOfFov(fovOf(lens, width), size.width, size.height) };
}
