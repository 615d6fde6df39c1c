// The view of traffic: how many bytes of tokens and rows each rank sends to each.

import { NONE, count, figure, fillTable, find, rate, say } from "./page-draw.js";

// Seconds between two questions: rates are means of the time between.
const INTERVAL = 2;
// Pixels of a cell, at least and at most, and of the names of ranks.
const [LEAST, MOST, EDGE] = [3, 36, 34];
// More ranks than this have no table of all pairs: the picture and the sums say it.
const TABLE = 16;

const latest = { matrix: null, asked: -Infinity, isUnderWay: false, fault: "" };

/** Asks for the matrix when it is time to, and draws what came last. */
export async function askTraffic(server) {
  const now = performance.now() / 1000;
  if (latest.isUnderWay || now - latest.asked < INTERVAL) return;
  latest.isUnderWay = true;
  latest.asked = now;
  try {
    const response = await server.ask("traffic", { seconds: 5 * INTERVAL, isQuiet: true });
    latest.matrix = await response.json();
    latest.fault = "";
  } catch (error) {
    latest.fault = `The traffic could not be asked for: ${error.line ?? error.message}`;
  }
  latest.isUnderWay = false;
  showTraffic();
}

/** Indices of ranks, those of a node together, as rows and columns show them. */
function order({ ranks, nodes }) {
  return ranks.map((_, index) => index).sort(
    (a, b) => nodes[a].localeCompare(nodes[b], undefined, { numeric: true })
      || ranks[a] - ranks[b]);
}

const crosses = ({ nodes }, a, b) => nodes[a] !== nodes[b];
const sum = (values) => values.reduce((all, value) => all + value, 0);
// As arguments of one call, the pairs of some hundred ranks would be too many.
const largest = (values) => values.reduce((most, value) => Math.max(most, value), 0);

/** Draws what came last; what goes wrong there is shown as what goes wrong on the way. */
export function showTraffic() {
  let { fault } = latest;
  try {
    if (latest.matrix) showMatrix(latest.matrix);
  } catch (error) {
    fault ||= `The traffic could not be shown: ${error.message}`;
  }
  say(find("traffic-fault"), fault);
  find("traffic-fault").hidden = fault === "";
}

function showMatrix(matrix) {
  const shown = order(matrix);
  say(find("traffic-summary"), summary(matrix));
  draw(matrix, shown);
  const { ranks, nodes } = matrix;
  const isSmall = ranks.length <= TABLE;
  find("traffic-pairs").hidden = !isSmall;
  if (isSmall) {
    fillTable(find("traffic-table"), ["From", "Node", ...shown.map((to) => `to ${ranks[to]}`)],
      shown.map((from) => ({
        cells: [String(ranks[from]), nodes[from] || NONE, ...shown.map((to) => from === to ? NONE
          : rate(matrix.bytes_per_second[from][to]) + (crosses(matrix, from, to) ? " *" : ""))],
      })), 2);
  }
  fillTable(find("traffic-sums"), [
    "Rank", "Node", "Inside its node", "Across nodes", "Most to", "Sent in all",
  ], shown.map((from) => {
    const row = matrix.bytes_per_second[from];
    const most = row.indexOf(largest(row));
    return {
      cells: [
        String(ranks[from]), nodes[from] || NONE,
        rate(matrix.inside_node_bytes_per_second[from]),
        rate(matrix.across_nodes_bytes_per_second[from]),
        row[most] > 0 ? `${ranks[most]}` : NONE,
        rate(matrix.sent_bytes[from], ""),
      ],
    };
  }), 2);
}

/** All of it in two sentences. */
function summary(matrix) {
  const inside = sum(matrix.inside_node_bytes_per_second);
  const across = sum(matrix.across_nodes_bytes_per_second);
  const nodes = new Set(matrix.nodes).size;
  const all = `${count(matrix.ranks.length, "rank")} on ${count(nodes, "node")} send `
    + `${rate(inside)} inside nodes and ${rate(across)} across, over the last `
    + `${figure(matrix.seconds)} s.`;
  let [busiest, pair] = [0, null];
  matrix.bytes_per_second.forEach((row, from) => row.forEach((value, to) => {
    if (value > busiest) [busiest, pair] = [value, [from, to]];
  }));
  if (!pair) return `${all} No step sends anything now.`;
  const [from, to] = pair.map((index) => matrix.ranks[index]);
  return `${all} Most goes from rank ${from} to rank ${to}: ${rate(busiest)}, `
    + `${crosses(matrix, ...pair) ? "across nodes" : "inside their node"}.`;
}

/** Where the cells of the picture are. */
function grid(canvas, ranks) {
  const room = Math.max(280, canvas.parentElement.clientWidth) - EDGE;
  return Math.max(LEAST, Math.min(MOST, Math.floor(room / Math.max(1, ranks))));
}

/** Rows send, columns receive; the strongest colour is the busiest pair's. */
function draw(matrix, shown) {
  const canvas = find("traffic-map");
  const cell = grid(canvas, shown.length);
  const size = EDGE + cell * shown.length;
  const scale = window.devicePixelRatio || 1;
  canvas.width = canvas.height = Math.round(size * scale);
  canvas.style.setProperty("width", `${size}px`);
  canvas.style.setProperty("height", `${size}px`);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.fillStyle = colour("--field");
  context.fillRect(EDGE, EDGE, size, size);
  const most = Math.max(1, largest(matrix.bytes_per_second.map(largest)));
  shown.forEach((from, row) => shown.forEach((to, column) => {
    context.fillStyle = colour(crosses(matrix, from, to) ? "--exposed" : "--experts");
    context.globalAlpha = matrix.bytes_per_second[from][to] / most;
    context.fillRect(EDGE + column * cell, EDGE + row * cell, cell, cell);
  }));
  context.globalAlpha = 1;
  writeEdges(context, matrix, shown, cell, size, colour);
  canvas.setAttribute("aria-label", `How much each of ${count(shown.length, "rank")} sends to `
    + "each; the tables below have the figures.");
}

/** The names of ranks, as many as have room, and lines between nodes. */
function writeEdges(context, matrix, shown, cell, size, colour) {
  const every = Math.ceil(24 / cell);
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = colour("--dim");
  context.strokeStyle = colour("--edge");
  context.textBaseline = "middle";
  shown.forEach((index, place) => {
    const middle = EDGE + (place + .5) * cell;
    if (place % every === 0) {
      context.textAlign = "right";
      context.fillText(String(matrix.ranks[index]), EDGE - 6, middle);
      context.textAlign = "center";
      context.fillText(String(matrix.ranks[index]), middle, EDGE - 12);
    }
    if (place > 0 && !crosses(matrix, index, shown[place - 1])) return;
    const edge = Math.round(EDGE + place * cell) + .5;
    context.beginPath();
    context.moveTo(edge, EDGE);
    context.lineTo(edge, size);
    context.moveTo(EDGE, edge);
    context.lineTo(size, edge);
    context.stroke();
  });
}

/** Names the pair below the pointer. */
export function namePair({ offsetX, offsetY }) {
  const { matrix } = latest;
  if (!matrix) return;
  const shown = order(matrix);
  const canvas = find("traffic-map");
  const cell = grid(canvas, shown.length);
  const [from, to] = [offsetY, offsetX].map((at) => shown[Math.floor((at - EDGE) / cell)]);
  canvas.title = from === undefined || to === undefined ? ""
    : `rank ${matrix.ranks[from]} to rank ${matrix.ranks[to]}: `
      + `${rate(matrix.bytes_per_second[from][to])}, ${rate(matrix.bytes[from][to], "")} in all`;
}
