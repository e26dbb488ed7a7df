// Brown and Conrady's distortion with OpenCV's eight coefficients, as geometry/lenses/brown_conrady.py.

const NEWTON_STEPS = 20;
const WIDEST = Math.tan((85 * Math.PI) / 180);
const SAMPLES = 9001;

export class BrownConradyLens {
  static type = "brown_conrady";
  static numbers = ["fx", "fy", "cx", "cy"];
  static lists = { distortion: 8 };

  constructor(json) {
    this.json = json;
    this.isFlat = true;
    this.focal = json.fx;
    ({ fx: this.fx, fy: this.fy, cx: this.cx, cy: this.cy } = json);
    [this.k1, this.k2, this.p1, this.p2, this.k3, this.k4, this.k5, this.k6] = json.distortion;
    this.maxRadius = this.#fieldLimit();
    this.maxAngle = Math.atan(this.maxRadius);
  }

  project(x, y, z, out) {
    if (!(z > 0)) return false;
    const a = x / z;
    const b = y / z;
    const q = a * a + b * b;
    if (q > this.maxRadius * this.maxRadius) return false;
    const [stretch] = this.#stretch(q);
    const { p1, p2 } = this;
    out[0] = this.fx * (a * stretch + 2 * p1 * a * b + p2 * (q + 2 * a * a)) + this.cx;
    out[1] = this.fy * (b * stretch + p1 * (q + 2 * b * b) + 2 * p2 * a * b) + this.cy;
    return true;
  }

  unproject(column, row) {
    const { p1, p2 } = this;
    const [goalX, goalY] = [(column - this.cx) / this.fx, (row - this.cy) / this.fy];
    let [x, y] = this.#withinField(goalX, goalY);
    for (let step = 0; step < NEWTON_STEPS; step++) {
      const q = x * x + y * y;
      const [stretch, slope] = this.#stretch(q);
      const ru = x * stretch + 2 * p1 * x * y + p2 * (q + 2 * x * x) - goalX;
      const rv = y * stretch + p1 * (q + 2 * y * y) + 2 * p2 * x * y - goalY;
      const mixed = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y;
      const ux = stretch + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x;
      const vy = stretch + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x;
      const determinant = ux * vy - mixed * mixed;
      [x, y] = this.#withinField(x - (ru * vy - rv * mixed) / determinant, y - (rv * ux - ru * mixed) / determinant);
    }
    const size = Math.hypot(x, y, 1);
    return [x / size, y / size, 1 / size];
  }

  scaled(factor) {
    const { fx, fy, cx, cy } = this;
    return new BrownConradyLens({ ...this.json, fx: fx * factor, fy: fy * factor, cx: cx * factor, cy: cy * factor });
  }

  #withinField(x, y) {
    const pull = Math.min(1, this.maxRadius / Math.max(Math.hypot(x, y), Number.MIN_VALUE));
    return [x * pull, y * pull];
  }

  // The factor of the radius at a squared radius, and its derivative.
  #stretch(q) {
    const { k1, k2, k3, k4, k5, k6 } = this;
    const above = 1 + q * (k1 + q * (k2 + q * k3));
    const below = 1 + q * (k4 + q * (k5 + q * k6));
    const stretch = above / below;
    return [stretch, (k1 + q * (2 * k2 + q * 3 * k3) - stretch * (k4 + q * (2 * k5 + q * 3 * k6))) / below];
  }

  // The largest radius up to which points move outwards; beyond it two share a pixel.
  #fieldLimit() {
    for (let i = 0; i < SAMPLES; i++) {
      const q = ((WIDEST * i) / (SAMPLES - 1)) ** 2;
      const [stretch, slope] = this.#stretch(q);
      if (stretch + 2 * q * slope <= 0 || stretch <= 0) return (WIDEST * (i - 1)) / (SAMPLES - 1);
    }
    return WIDEST;
  }
}
