// Lenses: how a point of the camera frame becomes a pixel, and back. The same formulas as geometry/lens.py.
//
// Camera frame: OpenCV axes. Pixels are (column, row) with centres at +0.5.

const NEWTON_STEPS = 20;
const SLOPE_SAMPLES = 9001;

/**
 * A lens that projects without making garbage.
 * @typedef {object} Lens
 * @property {object} json what the trajectory stores: type and numbers in pixels
 * @property {number} maxAngle radians off the axis up to which the lens sees
 * @property {(x: number, y: number, z: number, out: Float64Array) => boolean} project writes column and row into `out`;
 *     false for points that the lens does not see
 * @property {(column: number, row: number) => number[]} unproject the unit ray of a pixel
 * @property {(factor: number) => Lens} scaled the lens of the picture resized by a factor
 */

class PinholeLens {
  constructor(json) {
    this.json = json;
    this.maxAngle = Math.PI / 2;
    ({ fx: this.fx, fy: this.fy, cx: this.cx, cy: this.cy } = json);
  }

  project(x, y, z, out) {
    if (!(z > 0)) return false;
    out[0] = (this.fx * x) / z + this.cx;
    out[1] = (this.fy * y) / z + this.cy;
    return true;
  }

  unproject(column, row) {
    const { fx, fy, cx, cy } = this;
    const x = (column - cx) / fx;
    const y = (row - cy) / fy;
    const size = Math.hypot(x, y, 1);
    return [x / size, y / size, 1 / size];
  }

  scaled(factor) {
    const { fx, fy, cx, cy } = this;
    return new PinholeLens({ type: "pinhole", fx: fx * factor, fy: fy * factor, cx: cx * factor, cy: cy * factor });
  }
}

class Fisheye624Lens {
  constructor(json) {
    this.json = json;
    ({ focal: this.focal, cx: this.cx, cy: this.cy } = json);
    this.radial = Float64Array.from(json.radial);
    [this.p1, this.p2] = json.tangential;
    [this.s1, this.s2, this.s3, this.s4] = json.thin_prism;
    this.maxAngle = this.#fieldLimit();
    this.maxTangent = Math.tan(this.maxAngle);
  }

  project(x, y, z, out) {
    if (!(z > 0)) return false;
    const a = x / z;
    const b = y / z;
    const r = Math.sqrt(a * a + b * b);
    if (r > this.maxTangent) return false;
    const theta = Math.atan(r);
    const stretch = r > 1e-300 ? this.#radialAt(theta) / r : 1;
    const u = a * stretch;
    const v = b * stretch;
    const q = u * u + v * v;
    const { focal, p1, p2 } = this;
    out[0] = focal * (u + (2 * u * u + q) * p1 + 2 * u * v * p2 + (this.s1 + this.s2 * q) * q) + this.cx;
    out[1] = focal * (v + (2 * v * v + q) * p2 + 2 * u * v * p1 + (this.s3 + this.s4 * q) * q) + this.cy;
    return true;
  }

  // Newton's method, first for the plane point behind the decentring terms, then for the angle behind the radial ones.
  unproject(column, row) {
    const { focal, cx, cy } = this;
    const { p1, p2, s1, s2, s3, s4 } = this;
    const [goalX, goalY] = [(column - cx) / focal, (row - cy) / focal];
    let [x, y] = [goalX, goalY];
    for (let step = 0; step < NEWTON_STEPS; step++) {
      const q = x * x + y * y;
      const ru = x + (2 * x * x + q) * p1 + 2 * x * y * p2 + s1 * q + s2 * q * q - goalX;
      const rv = y + (2 * y * y + q) * p2 + 2 * x * y * p1 + s3 * q + s4 * q * q - goalY;
      const mixed = 2 * (y * p1 + x * p2);
      const [prismU, prismV] = [2 * s1 + 4 * s2 * q, 2 * s3 + 4 * s4 * q];
      const [ux, uy] = [1 + 6 * x * p1 + 2 * y * p2 + prismU * x, mixed + prismU * y];
      const [vx, vy] = [mixed + prismV * x, 1 + 6 * y * p2 + 2 * x * p1 + prismV * y];
      const determinant = ux * vy - uy * vx;
      x -= (ru * vy - rv * uy) / determinant;
      y -= (rv * ux - ru * vx) / determinant;
    }
    const radius = Math.hypot(x, y);
    let theta = Math.min(radius, this.maxAngle);
    for (let step = 0; step < NEWTON_STEPS; step++) {
      theta -= (this.#radialAt(theta) - radius) / Math.max(this.#slopeAt(theta), 1e-3);
      theta = Math.min(Math.max(theta, 0), this.maxAngle);
    }
    const side = radius > 1e-300 ? Math.sin(theta) / radius : 0;
    return [x * side, y * side, Math.cos(theta)];
  }

  scaled(factor) {
    const { focal, cx, cy } = this;
    return new Fisheye624Lens({ ...this.json, focal: focal * factor, cx: cx * factor, cy: cy * factor });
  }

  #radialAt(theta) {
    const q = theta * theta;
    const k = this.radial;
    return theta * (1 + q * (k[0] + q * (k[1] + q * (k[2] + q * (k[3] + q * (k[4] + q * k[5]))))));
  }

  #slopeAt(theta) {
    const square = theta * theta;
    let slope = 0;
    for (let i = 5; i >= 0; i--) slope = (slope + (2 * i + 3) * this.radial[i]) * square;
    return 1 + slope;
  }

  // The largest angle up to which the radial polynomial grows; beyond it two directions share a pixel.
  #fieldLimit() {
    const step = Math.PI / 2 / (SLOPE_SAMPLES - 1);
    for (let i = 0; i < SLOPE_SAMPLES; i++) if (this.#slopeAt(i * step) <= 0) return (i - 1) * step;
    return Math.PI / 2;
  }
}

/**
 * Make the lens of a JSON object, as a trajectory or a camera holds it.
 * @param {object} json `{type: "pinhole" | "fisheye624", ...}` in pixels
 * @returns {Lens}
 * @throws {Error} for another type or a number that is missing
 */
export function makeLens(json) {
  const numbers = json.type === "pinhole" ? [json.fx, json.fy, json.cx, json.cy] : [json.focal, json.cx, json.cy];
  const lists = json.type === "fisheye624" ? { radial: 6, tangential: 2, thin_prism: 4 } : {};
  const filled = { ...json };
  for (const [name, count] of Object.entries(lists)) {
    filled[name] = json[name] ?? new Array(count).fill(0);
    if (filled[name].length !== count) throw new Error(`A lens has ${count} ${name} coefficients.`);
    numbers.push(...filled[name]);
  }
  if (!numbers.every(Number.isFinite)) throw new Error("A lens misses a number.");
  if (json.type === "pinhole") return new PinholeLens(filled);
  if (json.type === "fisheye624") return new Fisheye624Lens(filled);
  throw new Error(`Expected a lens of type pinhole or fisheye624, got ${json.type}.`);
}
