// A canvas that keeps its size, knows where the pointer is at any zoom of the graph, and turns presses into drags.

/** @returns {HTMLElement} with attributes and children; `on...` are listeners, `class` is the class name */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Colors and font of ComfyUI's theme, as a canvas needs them; the font is that of an element. */
export function themeColors(root) {
  const style = getComputedStyle(document.documentElement);
  const of = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  return {
    text: of("--input-text", "#ddd"),
    faint: of("--descrip-text", "#999"),
    border: of("--border-color", "#4e4e4e"),
    background: of("--comfy-input-bg", "#222"),
    raised: of("--comfy-menu-bg", "#353535"),
    font: getComputedStyle(root).fontFamily || "sans-serif",
  };
}

/** Colors with a meaning, legible on dark and light. */
export const EGO = "#ffb02e";
export const EXO = "#5ab0ff";
export const KEY = "#ffd166";
export const AXES = { right: "#ff6b5e", up: "#7bd66f", forward: "#5c9dff" };

const CLICK = 4; // pixels the pointer may move in a click
const FINE = 0.1; // of the way that the pointer goes, with Ctrl
const MOST_DETAIL = 2; // canvas pixels to a layout pixel

export class CanvasView {
  /**
   * @param {string} name class name and accessible name
   * @param {() => void} redraw asks for a drawing
   */
  constructor(name, label, redraw) {
    this.redraw = redraw;
    this.canvas = element("canvas", { className: name });
    this.canvas.setAttribute("aria-label", label);
    this.context = this.canvas.getContext("2d");
    this.root = element("div", { className: `e2e-view ${name}-box` }, this.canvas);
    this.pointer = null; // [x, y] in layout pixels while over the canvas
    this.width = 0;
    this.height = 0;
    this.sizes = new ResizeObserver(() => this.redraw());
    this.sizes.observe(this.root);
    this.#listen();
  }

  dispose() {
    this.sizes.disconnect();
  }

  /** Fit the canvas to its box; drawing is in layout pixels then. @returns {boolean} whether there is anything to see */
  begin() {
    const { clientWidth: width, clientHeight: height } = this.root;
    if (!width || !height) return false;
    const zoom = this.root.getBoundingClientRect().width / width;
    const detail = Math.min(MOST_DETAIL, Math.max(1, Math.ceil(zoom * devicePixelRatio * 2) / 2));
    this.width = width;
    this.height = height;
    const [columns, rows] = [Math.round(width * detail), Math.round(height * detail)];
    if (this.canvas.width !== columns || this.canvas.height !== rows) [this.canvas.width, this.canvas.height] = [columns, rows];
    this.context.setTransform(detail, 0, 0, detail, 0, 0);
    return true;
  }

  /** @returns {number[]} the pointer in layout pixels, whatever the zoom of the graph */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.root.clientWidth,
      ((event.clientY - box.top) / box.height) * this.root.clientHeight,
    ];
  }

  /** @returns {number[]} client coordinates of a place in layout pixels; the inverse of `at` */
  toClient([x, y]) {
    const box = this.canvas.getBoundingClientRect();
    return [box.left + (x / this.root.clientWidth) * box.width, box.top + (y / this.root.clientHeight) * box.height];
  }

  // What a view does with the pointer; views override what they need. `press` returns the drag, `{move, end, fine, unit, type}`,
  // or null; fine: whether Ctrl slows it down; type(value): goes as far as a typed number of `unit` says.
  press() { return null; }
  click() {}
  hover() {}
  wheel() {}

  /** @returns {boolean} whether a key belongs to a number that is typed while something is dragged */
  typed(key) {
    const { drag } = this;
    if (!drag?.type) return false;
    if (/^[0-9]$/.test(key)) this.digits += key;
    else if ([".", ","].includes(key)) this.digits += this.digits.includes(".") ? "" : ".";
    else if (key === "-") this.digits = this.digits.startsWith("-") ? this.digits.slice(1) : `-${this.digits}`;
    else if (key === "Backspace") this.digits = this.digits.slice(0, -1);
    else if (key === "Enter") return this.release(true) ?? true;
    else if (key !== "Escape") return false;
    if (key === "Escape") {
      this.editor.revert();
      this.drag = null;
      this.editor.tell("");
      return true;
    }
    drag.type(Number(this.digits) || 0);
    this.editor.tell(`${this.digits || 0} ${drag.unit}: Enter or letting go takes it, Esc leaves all as it was.`);
    return true;
  }

  /** End what is dragged. */
  release(moved) {
    const { drag } = this;
    this.drag = null;
    this.digits = "";
    drag?.end?.(moved);
  }

  #listen() {
    const { canvas } = this;
    this.drag = null;
    this.digits = ""; // typed while something is dragged
    let start = null;
    let moved = false;
    let last = null; // where the pointer was
    let behind = [0, 0]; // how far what is dragged stays behind it
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      start = last = this.at(event);
      behind = [0, 0];
      moved = false;
      this.digits = "";
      this.drag = this.press(event, start);
    });
    canvas.addEventListener("pointermove", (event) => {
      const here = this.at(event);
      this.pointer = here;
      if (!start) return this.hover(event, here);
      moved ||= Math.hypot(here[0] - start[0], here[1] - start[1]) > CLICK;
      const { drag } = this;
      if (drag?.fine && (event.ctrlKey || event.metaKey)) behind = behind.map((way, i) => way + (1 - FINE) * (here[i] - last[i]));
      last = here;
      if (moved && !this.digits) drag?.move?.([here[0] - behind[0], here[1] - behind[1]], event);
    });
    const release = (event) => {
      if (!start) return;
      this.release(moved || this.digits !== "");
      if (!moved && event.type === "pointerup") this.click(event, start);
      start = null;
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("mousedown", (event) => event.preventDefault()); // the keyboard stays with the editor
    canvas.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.hover(null, null);
    });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.wheel(event, this.at(event));
    }, { passive: false });
  }
}

/** A splatter's picture as a 2D canvas can draw it; it is made anew only where what it shows has changed. */
export class Picture {
  constructor(splatter) {
    this.splatter = splatter;
    this.canvas = document.createElement("canvas");
    this.shows = [];
  }

  /** @returns {boolean} whether the picture still shows this: a list of numbers, texts and objects */
  isOf(...what) {
    const shown = [...what, this.splatter.isQuick]; // after a card was lost it is drawn anew
    const same = shown.length === this.shows.length && shown.every((value, i) => value === this.shows[i]);
    this.shows = shown;
    return same;
  }

  /** Take over what the splatter has drawn. */
  update() {
    const { splatter, canvas } = this;
    splatter.finish();
    if (this.bytes !== splatter.bytes) {
      this.bytes = splatter.bytes;
      [canvas.width, canvas.height] = [splatter.width, splatter.height];
      this.image = new ImageData(splatter.bytes, splatter.width, splatter.height);
    }
    canvas.getContext("2d").putImageData(this.image, 0, 0);
  }
}
