// The page's one WebGL2 context, shared by all editors: programs, points that were sent to the card, lenses as tables.

import { DISCS, SQUARES } from "./shaders.js";

const LENS_CELLS = 320; // of a table, each way: off by less than 0.1 pixels for the lenses of head cameras
const KEPT = 40_000; // points from which on they are kept on the card; fewer may have changed in place
const LARGEST_POINT = 24; // pixels, that a card must be able to draw

const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i; // names of drivers without a card

let device; // undefined: not tried yet; null: there is none
const listeners = new Set();

/** Be told when the context is lost. @returns {() => void} ends it */
export function onLoss(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** @returns {Device | null} null where the page has no WebGL2, or none but a slow one in software */
export function glDevice() {
  if (device === undefined) {
    try {
      device = new Device();
    } catch {
      device = null;
    }
  }
  return device?.isLost ? null : device;
}

// Some browsers name the card at once, others by an extension alone.
function nameOf(gl) {
  const name = String(gl.getParameter(gl.RENDERER));
  const more = /webkit|webgl/i.test(name) ? gl.getExtension("WEBGL_debug_renderer_info") : null;
  return more ? String(gl.getParameter(more.UNMASKED_RENDERER_WEBGL)) : name;
}

class Device {
  constructor() {
    const canvas = document.createElement("canvas");
    // WebGL in software is slower than `splat.js`; tests take it all the same.
    const takesSlow = Boolean(globalThis.exo2egoTakesSlowWebGL);
    const options = { antialias: false, depth: false, failIfMajorPerformanceCaveat: !takesSlow };
    const gl = canvas.getContext("webgl2", options);
    if (!gl) throw new Error("There is no WebGL2 here.");
    if (!takesSlow && SOFTWARE.test(nameOf(gl))) throw new Error("WebGL2 is software here.");
    if (gl.getParameter(gl.ALIASED_POINT_SIZE_RANGE)[1] < LARGEST_POINT) throw new Error("Points cannot be large enough here.");
    this.gl = gl;
    this.canvas = canvas;
    this.lost = false;
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.#lose();
    });
    this.programs = { discs: this.#program(DISCS), squares: this.#program(SQUARES) };
    this.points = new WeakMap(); // positions to their vertex arrays
    this.lenses = new WeakMap();
    this.size = [0, 0];
    this.frame = gl.createFramebuffer();
    this.color = gl.createTexture();
    this.depth = gl.createRenderbuffer();
  }

  /** @returns {boolean} */
  get isLost() {
    if (!this.lost && this.gl.isContextLost()) this.#lose();
    return this.lost;
  }

  #lose() {
    if (this.lost) return;
    this.lost = true;
    console.warn("Exo2Ego: the graphics card was lost; the camera editor draws with the processor from now on.");
    for (const listener of listeners) listener();
  }

  #program({ vertex, fragment }) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "no program");
    const places = {};
    for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
      const { name } = gl.getActiveUniform(program, i);
      places[name] = gl.getUniformLocation(program, name);
    }
    return { program, places };
  }

  /** Draw from now on into an empty picture of a size in pixels. */
  begin(width, height) {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    if (width > this.size[0] || height > this.size[1]) {
      this.size = [Math.max(width, this.size[0]), Math.max(height, this.size[1])];
      gl.bindTexture(gl.TEXTURE_2D, this.color);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, ...this.size, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
      gl.bindRenderbuffer(gl.RENDERBUFFER, this.depth);
      gl.renderbufferStorage(gl.RENDERBUFFER, gl.DEPTH_COMPONENT24, ...this.size);
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.color, 0);
      gl.framebufferRenderbuffer(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.RENDERBUFFER, this.depth);
    }
    gl.viewport(0, 0, width, height);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LESS);
    gl.disable(gl.BLEND);
    gl.clearColor(0, 0, 0, 0);
    gl.clearDepth(1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  }

  /**
   * Draw points.
   * @param {"discs" | "squares"} kind
   * @param {{positions: Float32Array, colors: Uint32Array, reach?: Float32Array}} cloud
   * @param {number[][]} ranges [start, end) of its points
   * @param {Record<string, number | number[]>} numbers of the program
   * @param {import("../lens.js").Lens} [lens] of discs
   */
  draw(kind, cloud, ranges, numbers, lens) {
    const { gl } = this;
    const { program, places } = this.programs[kind];
    gl.useProgram(program);
    for (const [name, value] of Object.entries(numbers)) {
      if (name === "step") gl.uniform1i(places[name], value);
      else if (Array.isArray(value)) gl[`uniform${value.length}fv`](places[name], value);
      else gl.uniform1f(places[name], value);
    }
    if (lens) gl.bindTexture(gl.TEXTURE_2D, this.#table(lens));
    this.#bind(cloud);
    for (const [start, end] of ranges) if (end > start) gl.drawArrays(gl.POINTS, start, end - start);
    gl.bindVertexArray(null);
  }

  #bind({ positions, colors, reach }) {
    const { gl } = this;
    let sent = this.points.get(positions);
    const isNew = !sent;
    sent ??= { all: gl.createVertexArray(), buffers: [0, 0, 0].map(() => gl.createBuffer()) };
    gl.bindVertexArray(sent.all);
    if (!isNew && colors.length >= KEPT && (sent.hasReach || !reach)) return;
    sent.hasReach = Boolean(reach);
    const parts = [[positions, 3, gl.FLOAT, false], [colors, 4, gl.UNSIGNED_BYTE, true], [reach, 1, gl.FLOAT, false]];
    for (const [place, [values, count, type, normalized]] of parts.entries()) {
      if (!values) continue;
      gl.bindBuffer(gl.ARRAY_BUFFER, sent.buffers[place]);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, count, type, normalized, 0, 0);
    }
    this.points.set(positions, sent);
  }

  // Where the rays ahead come to lie: (x, y) / (z + length) from -1 to 1 each way.
  #table(lens) {
    const { gl } = this;
    const made = this.lenses.get(lens);
    if (made) return made;
    const cells = LENS_CELLS + 1;
    const values = new Float32Array(4 * cells * cells);
    const out = new Float64Array(2);
    for (let row = 0; row < cells; row++) {
      for (let column = 0; column < cells; column++) {
        const [u, v] = [(2 * column) / LENS_CELLS - 1, (2 * row) / LENS_CELLS - 1];
        const z = (1 - u * u - v * v) / 2; // of the ray (u, v, z): its length is 1 - z
        if (z > 0 && lens.project(u, v, z, out)) values.set([out[0], out[1], 1, 0], 4 * (row * cells + column));
      }
    }
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, cells, cells, 0, gl.RGBA, gl.FLOAT, values);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
    this.lenses.set(lens, texture);
    return texture;
  }

  /** Read a part of what was drawn, rows from above. */
  read(left, top, width, height, bytes) {
    this.gl.readPixels(left, top, width, height, this.gl.RGBA, this.gl.UNSIGNED_BYTE, bytes);
  }
}
