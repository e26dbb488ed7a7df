// Which of the views is in front, and the editor as large as the screen.

const VIEWS = ["orbit", "ego", "exo"];

export class LargeView {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    for (const name of VIEWS) {
      editor[name].canvas.addEventListener("dblclick", () => editor.tool || this.toFront(name));
    }
    this.changed = () => editor.redraw();
    document.addEventListener("fullscreenchange", this.changed);
  }

  dispose() {
    document.removeEventListener("fullscreenchange", this.changed);
    if (this.isOpen) this.close();
  }

  /** @returns {boolean} */
  get isOpen() {
    const { root } = this.editor;
    return document.fullscreenElement === root || root.matches(":popover-open");
  }

  get #option() {
    return this.isOpen ? "largeFront" : "front";
  }

  /** @returns {string} the view in front */
  get front() {
    return this.editor.options[this.#option];
  }

  /** Bring a view to the front; the one in front already gives way to the scene, or to the ego view. */
  toFront(name) {
    const other = name === "orbit" ? "ego" : "orbit";
    this.editor.setOption(this.#option, name === this.front ? other : name);
  }

  toggle() {
    return this.isOpen ? this.close() : this.open();
  }

  /** Fill the screen, or the page where a page may not have the screen. */
  async open() {
    const { editor } = this;
    try {
      await editor.root.requestFullscreen();
    } catch {
      editor.root.popover = "manual"; // on top of all that the page shows, whatever the graph's zoom
      editor.root.showPopover();
    }
    editor.focus();
    editor.redraw();
  }

  close() {
    const { root } = this.editor;
    if (document.fullscreenElement === root) document.exitFullscreen();
    if (root.popover) {
      root.hidePopover();
      root.removeAttribute("popover");
    }
    this.editor.redraw();
  }

  draw() {
    const { editor, front } = this;
    for (const name of VIEWS) editor[name].root.classList.toggle("e2e-front", name === front);
    editor.root.classList.toggle("e2e-large", this.isOpen);
  }
}
