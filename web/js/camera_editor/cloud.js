// The compact point cloud that the node writes, see geometry/points/packed_cloud.py. Little endian:
//   64 bytes: "E2EC", uint32 version, n_static, n_frames, n_dynamic; float32 origin[3], scale; zeros
//   uint32 offsets[n_frames + 1] of each frame's own points; uint16 positions[3 N]; uint8 colors[3 N]; N static first.

const MAGIC = 0x43453245; // "E2EC"
const VERSION = 1;
const HEADER = 64;
const EMPTY_BELOW = 0.01 * 255;

/**
 * @typedef {object} Cloud
 * @property {Float32Array} positions x, y, z of each point, metres
 * @property {Uint32Array} colors of each point as a little-endian RGBA pixel, opaque
 * @property {Float32Array} reach the share of a disc's radius that counts as covered: the renderer's discs fade towards
 *     the rim, and what is all but black counts as empty (EMPTY_BELOW of geometry/points/renderer.py)
 * @property {number} nStatic points that every frame shows; the others follow frame by frame
 * @property {number} nFrames
 * @property {Uint32Array} offsets where each frame's own points start, counted after the static ones
 */

/**
 * Read a cloud.
 * @param {ArrayBuffer} buffer
 * @returns {Cloud}
 * @throws {Error} where the buffer is something else
 */
export function readCloud(buffer) {
  if (buffer.byteLength < HEADER) throw new Error("The file is no point cloud: it is too short.");
  const view = new DataView(buffer);
  const word = (offset) => view.getUint32(offset, true);
  if (word(0) !== MAGIC) throw new Error("The file is no point cloud of this pack.");
  if (word(4) !== VERSION) throw new Error(`This page reads clouds of version ${VERSION}, got ${word(4)}. Reload it.`);
  const [nStatic, nFrames, nDynamic] = [word(8), word(12), word(16)];
  const origin = [20, 24, 28].map((offset) => view.getFloat32(offset, true));
  const scale = view.getFloat32(32, true);
  const count = nStatic + nDynamic;
  const positionsAt = HEADER + 4 * (nFrames + 1);
  const colorsAt = positionsAt + 6 * count;
  if (buffer.byteLength < colorsAt + 3 * count) throw new Error("The point cloud is cut off. Run the node again.");

  const offsets = new Uint32Array(nFrames + 1);
  for (let i = 0; i <= nFrames; i++) offsets[i] = word(HEADER + 4 * i);
  const ordered = offsets.every((offset, i) => offset >= (i ? offsets[i - 1] : 0));
  if (!nFrames || offsets[0] !== 0 || offsets[nFrames] !== nDynamic || !ordered) {
    throw new Error("The point cloud's frames do not follow each other. Run the node again.");
  }
  const positions = new Float32Array(3 * count);
  for (let i = 0; i < 3 * count; i++) {
    positions[i] = origin[i % 3] + scale * view.getUint16(positionsAt + 2 * i, true);
  }
  const bytes = new Uint8Array(buffer, colorsAt, 3 * count);
  const colors = new Uint32Array(count);
  const reach = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const brightest = Math.max(bytes[3 * i], bytes[3 * i + 1], bytes[3 * i + 2]);
    reach[i] = Math.sqrt(Math.max(0, 1 - EMPTY_BELOW / brightest));
    colors[i] = 0xff000000 | (bytes[3 * i + 2] << 16) | (bytes[3 * i + 1] << 8) | bytes[3 * i];
  }
  return { positions, colors, reach, nStatic, nFrames, offsets };
}

/** @returns {number[][]} [start, end) of the points that a frame shows: the static ones and its own */
export function rangesOf(cloud, frame) {
  const own = Math.min(frame, cloud.nFrames - 1);
  return [
    [0, cloud.nStatic],
    [cloud.nStatic + cloud.offsets[own], cloud.nStatic + cloud.offsets[own + 1]],
  ];
}
