// A half-transparent picture over the ego view: the exo image, or what the camera sees at a key beside the frame of now.

import { element, Picture } from "./canvas_view.js";
import { GlSplatter } from "./gl/gl_splatter.js";

const SHARE = 0.5; // how much of the overlay is seen
const ROWS = 224; // of a key's view

/** @type {Record<string, string>} */
const LABELS = { none: "no overlay", exo: "exo image over it", before: "key before over it", after: "key after over it" };
/** What can lie over the ego view. */
export const OVERLAYS = Object.keys(LABELS);

export class EgoOverlay {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.splatter = new GlSplatter();
    this.picture = new Picture(this.splatter);
    const options = OVERLAYS.map((value) => element("option", { value }, LABELS[value]));
    this.choice = element("select", { title: "A half-transparent image over the ego view (B)" }, ...options);
    this.choice.setAttribute("aria-label", "Overlay of the ego view");
    this.choice.addEventListener("change", () => {
      editor.setOption("overlay", this.choice.value);
      editor.focus();
    });
  }

  /** @returns {import("./trajectory.js").Keyframe | undefined} the key whose view is shown */
  key() {
    const { shown, frame, options } = this.editor;
    if (options.overlay === "before") return shown.keyframes.findLast((key) => key.frame < frame);
    return options.overlay === "after" ? shown.keyframes.find((key) => key.frame > frame) : undefined;
  }

  /**
   * Draw it into the box of the ego view.
   * @param {CanvasRenderingContext2D} context
   * @param {number[]} box x, y, width, height in layout pixels
   * @param {(splatter: GlSplatter, key: import("./trajectory.js").Keyframe, rows: number) => void} splat draws the view of a key
   */
  draw(context, box, splat) {
    const { editor } = this;
    if (document.activeElement !== this.choice) this.choice.value = editor.options.overlay;
    const image = editor.options.overlay === "exo" ? editor.scene.pictureAt(editor.frame) : this.#viewOf(this.key(), splat);
    if (!image) return;
    const [x, y, width, height] = box;
    const fit = Math.min(width / image.width, height / image.height);
    const [wide, high] = [image.width * fit, image.height * fit];
    context.globalAlpha = SHARE;
    context.drawImage(image, x + (width - wide) / 2, y + (height - high) / 2, wide, high);
    context.globalAlpha = 1;
  }

  #viewOf(key, splat) {
    if (!key) return null;
    const { scene, lens, shown } = this.editor;
    const camera = [lens, shown.width, shown.height, ...key.position, ...key.rotation];
    if (!this.picture.isOf(scene.cloud, key.frame, this.editor.near(), ...camera)) {
      splat(this.splatter, key, ROWS);
      this.picture.update();
    }
    return this.picture.canvas;
  }
}
