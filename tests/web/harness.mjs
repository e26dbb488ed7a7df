// Runs the page's own modules under node. Reads {task, ...} as JSON from stdin, writes the answer as JSON to stdout.

import { readFileSync } from "node:fs";

const MODULES = new URL("../../web/js/camera_editor/", import.meta.url);
const load = (name) => import(new URL(`${name}.js`, MODULES));

const TASKS = {
  async project({ lens, points }) {
    const made = (await load("lens")).makeLens(lens);
    const out = new Float64Array(2);
    return points.map(([x, y, z]) => (made.project(x, y, z, out) ? [...out] : null));
  },

  async unproject({ lens, pixels }) {
    const made = (await load("lens")).makeLens(lens);
    return pixels.map(([column, row]) => made.unproject(column, row));
  },

  async preset({ lens, width, height, lenses }) {
    const { lensOf, namedLens } = await load("presets");
    const made = lensOf(lens, width, height, lenses).json;
    return { made, named: namedLens(made, width, height, lenses) };
  },

  async interpolate({ text, frames, count }) {
    const { poseAt, readTrajectory, worldToCamera } = await load("trajectory");
    const { keyframes } = readTrajectory(text);
    return {
      at: frames.map((frame) => poseAt(keyframes, frame)),
      matrices: Array.from({ length: count }, (_, frame) => worldToCamera(poseAt(keyframes, frame))),
    };
  },

  async rewrite({ text }) {
    const { readTrajectory, writeTrajectory } = await load("trajectory");
    return writeTrajectory(readTrajectory(text));
  },

  async slopes({ text, index }) {
    const { readTrajectory, turnOf } = await load("trajectory");
    const { keyframes } = readTrajectory(text);
    return Object.fromEntries(["in", "out"].map((side) => [`turn_${side}`, turnOf(keyframes, index, side)]));
  },

  async thin({ text, ...tolerance }) {
    const { readTrajectory, writeTrajectory } = await load("trajectory");
    const { thinned } = await load("curves/thinning");
    const given = readTrajectory(text);
    return writeTrajectory({ ...given, keyframes: thinned(given.keyframes, tolerance) });
  },

  async smooth({ text, ...tolerance }) {
    const { readTrajectory, writeTrajectory } = await load("trajectory");
    const { smoothed } = await load("curves/thinning");
    const given = readTrajectory(text);
    return writeTrajectory({ ...given, keyframes: smoothed(given.keyframes, tolerance) });
  },

  async retime({ text, chosen, last, by, copy, end, to }) {
    const { readTrajectory, writeTrajectory } = await load("trajectory");
    const { retimed, scaledTo, shifted } = await load("curves/retiming");
    const keys = new Set(chosen);
    const move = end ? scaledTo(keys, end, to) : shifted(keys, by, last);
    return writeTrajectory(retimed(readTrajectory(text), keys, move, last, copy).trajectory);
  },

  async pasted({ text }) {
    const { readText } = await load("curves/text_box");
    try {
      return readText(text) && "";
    } catch (error) {
      return error.message;
    }
  },

  async cloud({ path }) {
    const { rangesOf } = await load("cloud");
    const cloud = await cloudOf(path);
    const frames = Array.from({ length: cloud.nFrames }, (_, frame) =>
      rangesOf(cloud, frame).flatMap(([start, end]) => Array.from({ length: end - start }, (_, i) => start + i)),
    );
    return { positions: [...cloud.positions], colors: [...cloud.colors], frames };
  },

  async coverage({ path, views, lens, width, height, near = 0 }) {
    const { Splatter } = await load("splat");
    const { makeLens } = await load("lens");
    const { poseOfMatrix } = await load("scene");
    const cloud = await cloudOf(path);
    const splatter = new Splatter(width, height);
    return views.map(({ matrix, frame }) => {
      splatter.clear();
      splatter.drawDiscs(cloud, frame, poseOfMatrix(matrix), makeLens(lens), 1, near);
      const covered = Array.from(splatter.depth, (depth) => (depth < Infinity ? 1 : 0)).join("");
      return { share: splatter.coverage(), covered, colors: [...splatter.bytes] };
    });
  },

  async ground({ path, matrix }) {
    const { findGround } = await load("ground");
    const { poseOfMatrix } = await load("scene");
    return findGround(await cloudOf(path), poseOfMatrix(matrix));
  },

  // What an editor does with texts and commands, without its views.
  async edit({ steps }) {
    const { EditorState } = await load("state");
    const { COMMANDS } = await load("commands");
    class State extends EditorState {
      orbit = { camera: { state: () => ({}) } };
      redraw() {}
      settle() {}
      tell() {}
    }
    const written = [];
    const state = new State({ write: (text) => written.push(text), keepView() {} });
    for (const { text, command, wheel, flush } of steps) {
      if (command) COMMANDS[command](state);
      else if (flush) state.flush();
      else if (wheel) {
        state.setPose({ position: [0, 0, wheel], rotation: [1, 0, 0, 0] });
        state.commitSoon();
      }
      else state.loadText(text);
    }
    const { problem, nFrames, shown } = state;
    return { problem, nFrames, written, keys: shown.keyframes.length, drawn: state.path().length };
  },

  async moves({ path, frames, keyAt }) {
    const { applyMove } = await load("commands");
    const { Scene } = await load("scene");
    const { emptyTrajectory, withKey } = await load("trajectory");
    const pose = { position: [0, 0, 0], rotation: [1, 0, 0, 0] };
    const scene = Object.assign(new Scene(), { cloud: await cloudOf(path), nFrames: frames });
    let made = null;
    const editor = {
      scene, host: {}, pose: () => pose, frame: 0, nFrames: keyAt + 1, options: {}, goTo() {},
      shown: withKey(emptyTrajectory(), keyAt, pose), edit: (trajectory) => (made = trajectory),
      tell: (text) => { throw new Error(text); },
    };
    applyMove(editor, "watch");
    return made.keyframes.map((key) => key.frame);
  },

  async thinned({ path, points, camera }) {
    const { Scene } = await load("scene");
    const { coverageText } = await load("ego_view");
    const scene = new Scene();
    scene.take({ points, frames: 1, exo_camera: camera, pictures: [] }, await cloudOf(path));
    return coverageText(0.4, scene.thinned);
  },

  async scale({ sizes }) {
    const { scaleTo } = await load("ego_view");
    return sizes.map(([width, height]) => scaleTo(448, width, height));
  },

  async pace({ times }) {
    const { HASTES, Pace } = await load("pace");
    const pace = new Pace();
    const levels = times.map((ms) => (pace.note(ms), pace.level));
    return { hastes: HASTES, first: new Pace().level, levels };
  },

  async angles({ angles }) {
    const { anglesOf, rotationOf } = await load("ground");
    const { worldToCamera } = await load("trajectory");
    const world = { up: [0, -1, 0], right: [1, 0, 0], forward: [0, 0, 1], point: [0, 0, 0] };
    return angles.map((given) => {
      const rotation = rotationOf(world, given);
      return { matrix: worldToCamera({ position: [0, 0, 0], rotation }), back: anglesOf(world, rotation) };
    });
  },
};

async function cloudOf(path) {
  const bytes = readFileSync(path);
  return (await load("cloud")).readCloud(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

const request = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(await TASKS[request.task](request)));
