// How coarsely the processor draws points while something moves, so that it keeps up: chosen by the time that they took last.

/**
 * @typedef {object} Haste
 * @property {number} share of the scene's pixels, each way
 * @property {number} rows of the ego view
 * @property {number} step 1 draws every point of the ego view, 2 every second
 */

/** From all there is to the coarsest; each takes about a third of the one before. @type {Haste[]} */
export const HASTES = [
  { share: 1, rows: 448, step: 1 },
  { share: 1, rows: 224, step: 2 },
  { share: 0.5, rows: 160, step: 4 },
  { share: 0.5, rows: 112, step: 8 },
];
const FIRST = 1;
const MOST = 14; // ms for the points: lines, numbers and the browser take the rest of the 33 that 30 frames a second leave
const LITTLE = MOST / 4; // at which the finer one takes less than `MOST`
const JUDGED = 3; // drawings, of which the middle one counts: others may use the processor for a moment

export class Pace {
  constructor() {
    this.level = FIRST;
    this.times = [];
    this.spent = 0; // ms for the points of the drawing of now
  }

  /** @returns {Haste} */
  get haste() {
    return HASTES[this.level];
  }

  /** Draw points; the time counts. */
  time(draw) {
    const began = performance.now();
    draw();
    this.spent += performance.now() - began;
  }

  /** After a drawing: one in which nothing moved, or no points were drawn, is not judged. */
  drawn(moving) {
    const { spent } = this;
    this.spent = 0;
    if (moving && spent) this.note(spent);
  }

  /** Take in how many ms the points of a drawing took. */
  note(ms) {
    this.times.push(ms);
    if (this.times.length < JUDGED) return;
    const middle = this.times.sort((a, b) => a - b)[Math.floor(JUDGED / 2)];
    const change = middle > MOST ? 1 : middle < LITTLE ? -1 : 0;
    this.level = Math.min(Math.max(this.level + change, 0), HASTES.length - 1);
    this.times = [];
  }
}
