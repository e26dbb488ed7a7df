// The pinhole, as geometry/lenses/pinhole.py.

export class PinholeLens {
  static type = "pinhole";
  static numbers = ["fx", "fy", "cx", "cy"];
  static lists = {};

  constructor(json) {
    this.json = json;
    this.maxAngle = Math.PI / 2;
    this.focal = json.fx;
    this.isFlat = true;
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
    return new PinholeLens({ ...this.json, fx: fx * factor, fy: fy * factor, cx: cx * factor, cy: cy * factor });
  }
}
