// Project Aria's fisheye, as geometry/lenses/fisheye624.py.

import { AnglePolynomial } from "./angle_polynomial.js";

const NEWTON_STEPS = 20;

export class Fisheye624Lens {
  static type = "fisheye624";
  static numbers = ["focal", "cx", "cy"];
  static lists = { radial: 6, tangential: 2, thin_prism: 4 };

  constructor(json) {
    this.json = json;
    this.isFlat = false;
    ({ focal: this.focal, cx: this.cx, cy: this.cy } = json);
    [this.p1, this.p2] = json.tangential;
    [this.s1, this.s2, this.s3, this.s4] = json.thin_prism;
    this.angles = new AnglePolynomial(json.radial);
    this.maxAngle = this.angles.maxAngle;
  }

  project(x, y, z, out) {
    if (!(z > 0)) return false;
    const a = x / z;
    const b = y / z;
    const stretch = this.angles.stretch(a, b);
    if (!stretch) return false;
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
    return this.angles.ray(x, y);
  }

  scaled(factor) {
    const { focal, cx, cy } = this;
    return new Fisheye624Lens({ ...this.json, focal: focal * factor, cx: cx * factor, cy: cy * factor });
  }
}
