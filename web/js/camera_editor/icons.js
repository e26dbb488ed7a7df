// Pictures of the buttons, 16 x 16, drawn in the color of the text.

const PATHS = {
  first: "M4 3v10M13 3L6 8l7 5z",
  previousKey: "M6 8l4-4 4 4-4 4zM4 5L1.5 8 4 11",
  play: "M4 2.5v11L13 8z",
  pause: "M4.5 3v10M11.5 3v10",
  loopFrom: "M5 3H3v10h2M6.5 8h7M10.5 5l3 3-3 3",
  loopTo: "M11 3h2v10h-2M9.5 8h-7M5.5 5l-3 3 3 3",
  nextKey: "M10 8L6 4 2 8l4 4zM12 5l2.5 3L12 11",
  last: "M12 3v10M3 3l7 5-7 5z",
  setKey: "M8 2l6 6-6 6-6-6zM8 5.5v5M5.5 8h5",
  deleteKey: "M8 2l6 6-6 6-6-6zM5.5 8h5",
  copy: "M5 5V2.5h8.5V11H11M2.5 5H11v8.5H2.5z",
  paste: "M5 3H3v10.5h10V3h-2M5.5 1.5h5v3h-5z",
  curves: "M2 13.5C6 13.5 5 3 8.5 3S11 9 14 9M2 2v11.5h12",
  undo: "M6 3L2.5 6.5 6 10M3 6.5h6.5a3.5 3.5 0 010 7H6",
  redo: "M10 3l3.5 3.5L10 10M13 6.5H6.5a3.5 3.5 0 000 7H10",
  place: "M8 1.5v4M8 10.5v4M1.5 8h4M10.5 8h4M8 8h.01",
  gaze: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 6.2a1.8 1.8 0 100 3.6 1.8 1.8 0 000-3.6z",
  rollLock: "M4.5 7V5a3.5 3.5 0 017 0v2M3 7h10v7H3z",
  eyeHeight: "M2 13.5h12M8 13V3M5 6l3-3 3 3",
  all: "M2 5.5V2h3.5M10.5 2H14v3.5M14 10.5V14h-3.5M5.5 14H2v-3.5M8 5.7a2.3 2.3 0 100 4.6 2.3 2.3 0 000-4.6z",
  large: "M9.5 2H14v4.5M14 2L9.2 6.8M6.5 14H2V9.5M2 14l4.8-4.8",
  small: "M14 6.5H9.5V2M9.5 6.5L14 2M2 9.5h4.5V14M6.5 9.5L2 14",
  help: "M5.5 6a2.5 2.5 0 113.8 2.1C8.4 8.7 8 9.2 8 10M8 12.8v.01",
};

/** @returns {SVGElement} */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
