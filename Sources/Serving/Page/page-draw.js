// Elements, tables that change in place, drawings, and how numbers are written. Text from outside
// becomes text nodes here, never markup.

const SVG = "http://www.w3.org/2000/svg";

export const find = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text. */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same in a drawing. */
export function shape(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** Changes a text only where it differs, so that selections and screen readers keep their place. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Fills a table in place. A row is `{ cells, isBad }`; a cell is a text, or a share of 0 to 1 as
 * `{ bar, mark }`, with a mark at another one. `words` columns on the left hold words.
 */
export function fillTable(table, heads, rows, words = 1) {
  const head = table.tHead ?? table.createTHead();
  const row = head.rows[0] ?? head.insertRow();
  if (row.cells.length !== heads.length) {
    row.replaceChildren(...heads.map((_, index) =>
      element("th", { scope: "col", ...(index < words ? { class: "words" } : {}) })));
  }
  heads.forEach((text, index) => say(row.cells[index], text));
  const body = table.tBodies[0] ?? table.createTBody();
  rows.forEach(({ cells, isBad }, index) => {
    let row = body.rows[index];
    if (!row || row.cells.length !== cells.length) {
      const fresh = element("tr", {}, ...cells.map((_, column) => column === 0
        ? element("th", { scope: "row" })
        : element("td", column < words ? { class: "words" } : {})));
      row ? row.replaceWith(fresh) : body.append(fresh);
      row = fresh;
    }
    row.classList.toggle("bad", Boolean(isBad));
    cells.forEach((cell, column) => fillCell(row.cells[column], cell));
  });
  while (body.rows.length > rows.length) body.lastElementChild.remove();
}

function fillCell(cell, value) {
  if (typeof value === "string") return say(cell, value);
  if (!cell.firstElementChild) {
    cell.className = "bar";
    cell.replaceChildren(element("div", { "aria-hidden": "true" }));
  }
  const bar = cell.firstElementChild.style;
  bar.setProperty("--bar", `${(100 * value.bar).toFixed(1)}%`);
  bar.setProperty("--mark", `${(100 * value.mark).toFixed(1)}%`);
}

/** Puts `[name, value]` pairs into a list of terms, in place. */
export function fillCards(list, cards) {
  while (list.children.length > cards.length) list.lastElementChild.remove();
  cards.forEach(([name, value], index) => {
    const card = list.children[index]
      ?? list.appendChild(element("div", {}, element("dt"), element("dd")));
    say(card.firstElementChild, name);
    say(card.lastElementChild, value);
  });
}

/** A legend: the classes that colour a drawing's parts, and their names. */
export function fillLegend(list, entries) {
  if (list.children.length) return;
  list.append(...entries.map(([kind, name]) => element("li", {},
    shape("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" },
      shape("rect", { width: 10, height: 10, class: kind })), name)));
}

export const NONE = "–";

/** `1 rank`, `2 ranks`. */
export const count = (number, name) => `${figure(number)} ${name}${number === 1 ? "" : "s"}`;

/** A number with as many digits as matter. */
export function figure(value) {
  if (value === undefined || value === null || !Number.isFinite(value)) return NONE;
  const digits = Number.isInteger(value) || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString("en", {
    minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export const percent = (share) =>
  share === undefined || share === null || !Number.isFinite(share)
    ? NONE : `${(100 * share).toFixed(share > 0 && share < .1 ? 1 : 0)}\u00a0%`;

/** Bytes in the unit that people say, a second unless `per` says otherwise. */
export function rate(bytes, per = "/s") {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${figure(unit ? value : Math.round(value))}\u00a0${units[unit]}${per}`;
}

/** Seconds in the unit that people say. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NONE;
  return seconds < 1 ? `${figure(1000 * seconds)}\u00a0ms` : `${figure(seconds)}\u00a0s`;
}

/**
 * Shares over time, stacked, as areas: `points` are `{ age, values }` with seconds before now and
 * one share for each of `kinds`, or null values where nothing was measured.
 */
export function areaChart(points, kinds, { width, span, alternative }) {
  const height = 220;
  const [left, right, top, bottom] = [48, width - 8, 26, height - 22];
  const x = (age) => right - (right - left) * age / span;
  const y = (share) => bottom - (bottom - top) * Math.min(1, share);
  const drawing = shape("svg", {
    viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": alternative });
  const write = (at, to, text, anchor) => drawing.append(
    shape("text", { x: at, y: to, class: "dim", "text-anchor": anchor }, text));
  for (const share of [0, .25, .5, .75, 1]) {
    drawing.append(shape("line", {
      x1: left, x2: right, y1: y(share), y2: y(share), class: "grid" }));
    write(left - 6, y(share) + 4, `${100 * share} %`, "end");
  }
  for (let age = 0; age <= span; age += 60) {
    write(x(age), bottom + 16, age ? `−${age / 60} min` : "now", age ? "middle" : "end");
  }
  write(0, 12, "share of step time", "start");
  for (const run of runs(points)) {
    let floor = run.map(() => 0);
    kinds.forEach((kind, index) => {
      const roof = run.map(({ values }, point) => floor[point] + values[index]);
      const edge = [
        ...run.map(({ age }, point) => [x(age), y(roof[point])]),
        ...run.map(({ age }, point) => [x(age), y(floor[point])]).reverse(),
      ];
      drawing.append(shape("polygon", {
        class: kind, points: edge.map((pair) => pair.map((n) => n.toFixed(1))).join(" ") }));
      floor = roof;
    });
  }
  return drawing;
}

/** The stretches without a gap. A lone point is no area and is left out. */
function runs(points) {
  const found = [[]];
  for (const point of points) {
    if (point.values) found.at(-1).push(point);
    else if (found.at(-1).length) found.push([]);
  }
  return found.filter((run) => run.length > 1);
}
