// The odd polynomial of the angle off the axis by which fisheye lenses bend, as geometry/lenses/angle_polynomial.py.

const NEWTON_STEPS = 20;
const SLOPE_SAMPLES = 9001;

/** t = theta (1 + k1 theta^2 + k2 theta^4 + ...) */
export class AnglePolynomial {
  constructor(coefficients) {
    this.k = Float64Array.from(coefficients);
    this.maxAngle = this.#fieldLimit();
    this.maxTangent = Math.tan(this.maxAngle);
  }

  at(theta) {
    const square = theta * theta;
    let factor = 0;
    for (let i = this.k.length - 1; i >= 0; i--) factor = (factor + this.k[i]) * square;
    return theta * (1 + factor);
  }

  slope(theta) {
    const square = theta * theta;
    let slope = 0;
    for (let i = this.k.length - 1; i >= 0; i--) slope = (slope + (2 * i + 3) * this.k[i]) * square;
    return 1 + slope;
  }

  /** How far a point at x/z, y/z moves away from the axis: a factor; 0 where the lens does not see it. */
  stretch(a, b) {
    const r = Math.sqrt(a * a + b * b);
    if (r > this.maxTangent) return 0;
    return r > 1e-300 ? this.at(Math.atan(r)) / r : 1;
  }

  /** The unit ray that the polynomial moves to (x, y), by Newton's method. */
  ray(x, y) {
    const radius = Math.hypot(x, y);
    let theta = Math.min(radius, this.maxAngle);
    for (let step = 0; step < NEWTON_STEPS; step++) {
      theta -= (this.at(theta) - radius) / Math.max(this.slope(theta), 1e-3);
      theta = Math.min(Math.max(theta, 0), this.maxAngle);
    }
    const side = radius > 1e-300 ? Math.sin(theta) / radius : 0;
    return [x * side, y * side, Math.cos(theta)];
  }

  // The largest angle up to which the polynomial grows; beyond it two directions share a pixel.
  #fieldLimit() {
    const step = Math.PI / 2 / (SLOPE_SAMPLES - 1);
    for (let i = 0; i < SLOPE_SAMPLES; i++) if (this.slope(i * step) <= 0) return (i - 1) * step;
    return Math.PI / 2;
  }
}
