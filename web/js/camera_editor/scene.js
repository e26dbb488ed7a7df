// What a run of the node sent: the cloud, the exo camera and its pictures, the trajectory to start from.

import { readCloud, rangesOf } from "./cloud.js";
import { assumedGround, findGround } from "./ground.js";
import { makeLens } from "./lens.js";
import { along, length, matrixToQuat, quatAxes, sub } from "./math.js";
import { namedLens } from "./presets.js";
import { pictureRay } from "./scene_lines.js";
import { readTrajectory } from "./trajectory.js";

const PLANE_COLUMNS = 144; // points of the exo picture in the scene
const PLANE_REACH = 0.2; // of the median distance
const SAMPLES = 3000;
const HERE = { position: [0, 0, 0], rotation: [1, 0, 0, 0] };

const parsed = (value) => (typeof value === "string" ? JSON.parse(value) : value);

/** The server has no points any more; `scene` has what is known without them. */
export class LostCloud extends Error {
  constructor(scene) {
    super("The server has forgotten the point cloud. Run the node again to see it.");
    this.scene = scene;
  }
}

export class Scene {
  constructor() {
    this.cloud = null;
    this.thinned = false; // whether the page has fewer points than the node
    this.plane = null;
    this.exo = null;
    this.exoPoses = [HERE];
    this.start = null;
    this.pictures = []; // {frame, image}
    this.lenses = {};
    this.nFrames = 0;
    this.fps = null; // frames a second of the clip
    this.near = 0; // metres around the ego camera in which the node drew no points
    this.ground = assumedGround(HERE);
    this.middle = [0, 0, 3];
    this.extent = 2;
    this.exoReach = 0.5;
    this.spacing = 0.01;
  }

  /**
   * Take in what the node's run sent.
   * @param {object} payload `ui.exo2ego_editor[0]`
   * @param {(reference: object) => string} address of a file that the payload refers to
   * @returns {Promise<Scene>}
   * @throws {LostCloud} where the cloud is gone
   * @throws {Error} where it is unreadable
   */
  static async load(payload, address) {
    const scene = new Scene();
    scene.takeCameras(payload);
    const response = await fetch(address(payload.cloud));
    if (!response.ok) throw new LostCloud(scene);
    scene.takeCloud(payload, readCloud(await response.arrayBuffer()));
    const loaded = payload.pictures.map(async (sent) => ({ frame: sent.frame, image: await loadImage(address(sent)) }));
    scene.pictures = (await Promise.all(loaded)).filter(({ image }) => image);
    return scene;
  }

  /** Work out what follows from a payload and its cloud. */
  take(payload, cloud) {
    this.takeCameras(payload);
    this.takeCloud(payload, cloud);
  }

  /** What is there without the cloud: the clip's length, lenses, the camera to start from. */
  takeCameras(payload) {
    const camera = parsed(payload.exo_camera);
    this.nFrames = payload.frames;
    this.fps = payload.fps ?? null;
    this.near = payload.near ?? 0;
    this.lenses = payload.lenses ?? {};
    this.start = payload.start ? readTrajectory(payload.start) : null;
    if (this.start) this.start.lens = namedLens(this.start.lens, this.start.width, this.start.height, this.lenses);
    this.exo = { lens: makeLens(camera.lens), width: camera.width, height: camera.height };
    this.exoPoses = camera.world_to_camera.map(poseOfMatrix);
    this.ground = assumedGround(this.exoPoses[0]);
  }

  takeCloud(payload, cloud) {
    this.cloud = cloud;
    this.thinned = payload.points > cloud.colors.length;
    this.ground = findGround(cloud, this.exoPoses[0]);
    this.#measure();
    this.#makePlane();
  }

  /** @returns {import("./trajectory.js").Pose} of the exo camera */
  exoPose(frame) {
    return this.exoPoses[Math.min(frame, this.exoPoses.length - 1)];
  }

  /** @returns {HTMLImageElement | undefined} the exo picture nearest to a frame: the node sends some of them */
  pictureAt(frame) {
    let best = this.pictures[0];
    for (const one of this.pictures) if (Math.abs(one.frame - frame) < Math.abs(best.frame - frame)) best = one;
    return best?.image;
  }

  /** Put the exo picture of a frame onto its plane in the scene. */
  paintPlane(frame) {
    const picture = this.pictureAt(frame);
    const { plane, exo } = this;
    if (!picture || !plane) return;
    const pose = this.exoPose(frame);
    if (plane.pose !== pose) {
      placePlane(plane, pose);
      plane.pose = pose;
    }
    if (plane.picture === picture) return;
    plane.picture = picture;
    const context = plane.context;
    context.drawImage(picture, 0, 0, plane.columns, plane.rows);
    const { data } = context.getImageData(0, 0, plane.columns, plane.rows);
    plane.colors.set(new Uint32Array(data.buffer));
    plane.spacing = (1.25 * this.exoReach * exo.width) / exo.lens.focal / plane.columns;
  }

  // Where the middle of the scene is, how far it reaches, and how far apart its points are.
  #measure() {
    const points = [];
    const counts = rangesOf(this.cloud, 0);
    const count = counts.reduce((sum, [start, end]) => sum + end - start, 0);
    for (const [start, end] of counts) {
      for (let at = start; at < end; at += Math.max(1, count / SAMPLES)) {
        points.push(Array.from(this.cloud.positions.subarray(3 * Math.floor(at), 3 * Math.floor(at) + 3)));
      }
    }
    if (!points.length) return;
    const share = (values, part) => values.sort((a, b) => a - b)[Math.floor(part * (values.length - 1))];
    this.middle = [0, 1, 2].map((axis) => share(points.map((point) => point[axis]), 0.5));
    this.extent = share(points.map((point) => length(sub(point, this.middle))), 0.8);
    const distance = share(points.map((point) => length(sub(point, this.exoPoses[0].position))), 0.5);
    this.exoReach = PLANE_REACH * distance;
    const { width, height, lens } = this.exo;
    const pixels = Math.sqrt((width * height) / Math.max(count, 1)); // of the exo picture, between points
    this.spacing = (1.6 * distance * pixels) / lens.focal;
  }

  #makePlane() {
    const { exo, exoReach } = this;
    const columns = PLANE_COLUMNS;
    const rows = Math.max(1, Math.round((columns * exo.height) / exo.width));
    const rays = [];
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const ray = pictureRay(exo.lens, ((column + 0.5) * exo.width) / columns, ((row + 0.5) * exo.height) / rows);
        rays.push(ray.map((value) => value * exoReach));
      }
    }
    const positions = new Float32Array(3 * rays.length);
    this.plane = { columns, rows, rays, positions, colors: new Uint32Array(rays.length), spacing: 0.01 };
    if (typeof document === "undefined") return; // under node there are no pictures
    const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
    this.plane.context = canvas.getContext("2d", { willReadFrequently: true });
  }
}

function placePlane(plane, pose) {
  const { right, down, forward } = quatAxes(pose.rotation);
  plane.rays.forEach((ray, i) => {
    plane.positions.set(along(pose.position, right, ray[0], down, ray[1], forward, ray[2]), 3 * i);
  });
}

/** @returns {import("./trajectory.js").Pose} of a world-to-camera matrix, four rows */
export function poseOfMatrix(matrix) {
  const [x, y, z] = matrix;
  const shift = [x[3], y[3], z[3]];
  const position = [0, 1, 2].map((i) => -(x[i] * shift[0] + y[i] * shift[1] + z[i] * shift[2]));
  return { position, rotation: matrixToQuat([x[0], y[0], z[0], x[1], y[1], z[1], x[2], y[2], z[2]]) };
}

function loadImage(source) {
  return new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => resolve(null); // a picture less
    image.src = source;
  });
}
