// A field for a number: a decimal point or comma, arrow keys and the wheel; with Shift ten times as far, with Ctrl a tenth.

import { element } from "./canvas_view.js";

const FAR = 10;
const FINE = 0.1;

/** @returns {number | null} what was typed, with a point or a comma; null where it is no number */
export function numberOf(text) {
  const plain = text.trim().replace(/\s/g, "").replace(",", ".");
  const value = Number(plain);
  return plain !== "" && Number.isFinite(value) ? value : null;
}

/**
 * @param {object} field
 * @param {string} field.title also its accessible name
 * @param {number} [field.step] of the arrow keys and the wheel
 * @param {number} [field.min]
 * @param {number} [field.max]
 * @param {number} [field.digits] after the point
 * @param {(value: number) => void} field.write
 * @param {() => void} field.leave where the focus goes after Enter and Escape
 * @param {() => void} field.redraw shows the number of now
 * @returns {HTMLInputElement}
 */
export function numberField({ title, step = 1, min = -Infinity, max = Infinity, digits = 4, write, leave, redraw }) {
  const input = element("input", { type: "text", title, autocomplete: "off" });
  input.inputMode = "decimal";
  input.setAttribute("aria-label", title);
  let dropped = false;
  const stepped = (event, sense) => {
    const value = numberOf(input.value);
    if (value === null || input.disabled) return;
    event.preventDefault();
    const way = sense * step * (event.shiftKey ? FAR : event.ctrlKey || event.metaKey ? FINE : 1);
    const next = Number(Math.min(Math.max(value + way, min), max).toFixed(Math.max(digits, 0)));
    input.value = String(next);
    write(next);
    redraw();
  };
  input.addEventListener("change", () => {
    const value = numberOf(input.value);
    if (!dropped && value !== null) write(value);
    redraw();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowUp" || event.key === "ArrowDown") return stepped(event, event.key === "ArrowUp" ? 1 : -1);
    if (event.key !== "Enter" && event.key !== "Escape") return;
    dropped = event.key === "Escape"; // leaving the field would take what was typed
    leave();
    dropped = false;
  });
  input.addEventListener("wheel", (event) => document.activeElement === input && stepped(event, -Math.sign(event.deltaY)), { passive: false });
  return input;
}
