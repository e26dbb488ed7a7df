// OpenCV's fisheye, as geometry/lenses/opencv_fisheye.py.

import { AnglePolynomial } from "./angle_polynomial.js";

export class OpenCVFisheyeLens {
  static type = "opencv_fisheye";
  static numbers = ["fx", "fy", "cx", "cy"];
  static lists = { radial: 4 };

  constructor(json) {
    this.json = json;
    this.isFlat = false;
    this.focal = json.fx;
    ({ fx: this.fx, fy: this.fy, cx: this.cx, cy: this.cy } = json);
    this.angles = new AnglePolynomial(json.radial);
    this.maxAngle = this.angles.maxAngle;
  }

  project(x, y, z, out) {
    if (!(z > 0)) return false;
    const a = x / z;
    const b = y / z;
    const stretch = this.angles.stretch(a, b);
    if (!stretch) return false;
    out[0] = this.fx * a * stretch + this.cx;
    out[1] = this.fy * b * stretch + this.cy;
    return true;
  }

  unproject(column, row) {
    return this.angles.ray((column - this.cx) / this.fx, (row - this.cy) / this.fy);
  }

  scaled(factor) {
    const { fx, fy, cx, cy } = this;
    return new OpenCVFisheyeLens({ ...this.json, fx: fx * factor, fy: fy * factor, cx: cx * factor, cy: cy * factor });
  }
}
