// The view of experts: what each rank's get, and a picture of every layer's.

import { NONE, count, figure, fillTable, find, percent, say } from "./page-draw.js";
import { split } from "./page-metrics.js";

// Seconds between two questions for the loads of experts, which are means of minutes.
const INTERVAL = 5;
// Times the mean of a layer's experts at which the picture's colour is strongest.
const STRONGEST = 4;

const latest = { groups: [], asked: -Infinity, isUnderWay: false, fault: "" };

export function showExperts(history) {
  const ranks = history.ranks.filter(
    (rank) => history.gauge(rank, "expert_load_ratio") !== undefined);
  const ratios = ranks.map((rank) => history.gauge(rank, "expert_load_ratio"));
  const imbalance = Math.max(...ranks.map((rank) => history.gauge(rank, "expert_imbalance")));
  if (ranks.length === 0) {
    say(find("experts-summary"), "The server counted no tokens of experts yet. Jobs of a "
      + "coordinator count them while they serve; apus serve does not.");
    say(find("experts-gain"), "");
  } else {
    say(find("experts-summary"), `In each layer the busiest rank gets ${imbalance.toFixed(2)} `
      + "times the tokens of the mean rank (1 is even), all layers together.");
    say(find("experts-gain"), gain(history, imbalance));
  }
  const most = Math.max(1, ...ratios);
  fillTable(find("experts-table"), [
    "Rank", "Load", "Of its group's mean", "Imbalance of its group",
  ], ranks.map((rank, index) => ({
    cells: [
      String(rank), { bar: ratios[index] / most, mark: 1 / most }, ratios[index].toFixed(2),
      history.gauge(rank, "expert_imbalance").toFixed(2),
    ],
  })), 2);
}

/** What an even placement would bring at most, in one sentence. */
function gain(history, imbalance) {
  const share = Math.max(0, ...history.ranks.map(
    (rank) => split(history.growth(rank, 60))?.experts ?? 0));
  if (share === 0) return "What that costs is known once steps are made.";
  const saved = share * (1 - 1 / imbalance);
  return `Routed experts take up to ${percent(share)} of a rank's step, so an even placement would `
    + `shorten steps by at most about ${percent(saved)}.`;
}

/** Asks for the loads of layers when it is time to, and draws what came last. */
export async function askExperts(server) {
  const now = performance.now() / 1000;
  if (latest.isUnderWay || now - latest.asked < INTERVAL) return;
  latest.isUnderWay = true;
  latest.asked = now;
  try {
    const response = await server.ask("experts", { seconds: 2 * INTERVAL, isQuiet: true });
    latest.groups = (await response.json()).groups;
    latest.fault = "";
  } catch (error) {
    latest.fault = `The loads of layers could not be asked for: ${error.line ?? error.message}`;
  }
  latest.isUnderWay = false;
  showLayers();
}

/** The group that the reader chose. */
function chosenGroup() {
  const choice = find("layers-group");
  const names = latest.groups.map(({ name }) => name);
  if (names.join() !== [...choice.options].map(({ value }) => value).join()) {
    const chosen = choice.value;
    choice.replaceChildren(...names.map((name) => new Option(name || "all ranks", name)));
    if (names.includes(chosen)) choice.value = chosen;
  }
  find("layers-row").hidden = names.length < 2;
  return latest.groups[Math.max(0, choice.selectedIndex)];
}

/** Layers of which tokens were counted; a layer without routed experts has none. */
const countedLayers = (group) => (group?.layers ?? [])
  .map((layer, number) => ({ ...layer, number }))
  .filter(({ loads }) => loads.some((load) => load > 0));

export function showLayers() {
  const group = chosenGroup();
  const layers = countedLayers(group);
  const isCounted = layers.length > 0;
  find("layers").hidden = !isCounted;
  say(find("layers-fault"), latest.fault);
  find("layers-fault").hidden = latest.fault === "";
  if (!isCounted) return;
  say(find("layers-summary"), summary(group));
  draw(layers);
  fillTable(find("layers-table"), [
    "Layer", "Busiest rank", "Busiest expert", "Its tokens", "On ranks",
  ], layers.map(({ number, imbalance, loads, ranks }) => {
    const busiest = loads.indexOf(Math.max(...loads));
    return {
      cells: [
        String(number), imbalance.toFixed(2), String(busiest), loads[busiest].toFixed(2),
        ranks[busiest].join(", "),
      ],
    };
  }));
}

/** What moving experts would bring, and what more copies would. */
function summary({ name, imbalance, gains }) {
  const copies = (number) => number === 0 ? "no redundant copy"
    : `${figure(number)} redundant ${number === 1 ? "copy" : "copies"} a layer`;
  const outcomes = gains.map((gain) =>
    `${gain.imbalance.toFixed(2)} with ${copies(gain.redundant_experts)}`);
  return `${name ? `Group ${name}: the` : "The"} busiest rank of each layer gets `
    + `${imbalance.toFixed(2)} times the mean rank's tokens. Better places would make it `
    + `${outcomes.join(", ")}.`;
}

/** Rows are layers, columns are experts; a strong colour is much. */
function draw(layers) {
  const canvas = find("layers-map");
  const columns = Math.max(...layers.map(({ loads }) => loads.length));
  const tall = Math.max(4, Math.min(18, Math.floor(360 / layers.length)));
  const [width, height] = [Math.max(280, canvas.parentElement.clientWidth), tall * layers.length];
  const scale = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
  canvas.style.setProperty("height", `${height}px`);
  const style = getComputedStyle(document.documentElement);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.fillStyle = style.getPropertyValue("--field");
  context.fillRect(0, 0, width, height);
  context.fillStyle = style.getPropertyValue("--exposed");
  layers.forEach(({ loads }, row) => loads.forEach((load, column) => {
    context.globalAlpha = Math.min(1, load / STRONGEST);
    context.fillRect(column * width / columns, row * tall, width / columns, tall);
  }));
  canvas.setAttribute("aria-label", `Tokens of ${count(columns, "expert")} in `
    + `${count(layers.length, "layer")}; the table names the busiest of each.`);
}

/** Names the expert below the pointer. */
export function nameExpert({ offsetX, offsetY }) {
  const canvas = find("layers-map");
  const layers = countedLayers(chosenGroup());
  const row = Math.floor(offsetY / canvas.clientHeight * layers.length);
  const loads = layers[row]?.loads ?? [];
  const expert = Math.floor(offsetX / canvas.clientWidth * loads.length);
  if (!(expert in loads)) return;
  const { number, ranks: holders } = layers[row];
  const ranks = holders[expert];
  canvas.title = `layer ${number}, expert ${expert}: ${loads[expert].toFixed(2)} times the mean, `
    + `on ${ranks.length === 1 ? "rank" : "ranks"} ${ranks.join(", ") || NONE}`;
}
