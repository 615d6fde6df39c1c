// The page: its tabs, the question for a key, and the one request a second that all views share.

import { Chat } from "./page-chat.js";
import { askDoctor } from "./page-doctor.js";
import { count, figure, fillLegend, find, say } from "./page-draw.js";
import { askExperts, nameExpert, showExperts, showLayers } from "./page-experts.js";
import { History, parse } from "./page-metrics.js";
import { Server, ServerError } from "./page-server.js";
import { askTraffic, namePair, showTraffic } from "./page-traffic.js";
import { allRanks, showCluster, showExchange, showRequests } from "./page-views.js";

const VIEWS = {
  chat: () => {}, cluster: showCluster, experts: showExperts, exchange: showExchange,
  traffic: () => {}, requests: showRequests, doctor: () => {},
};
// What a view asks for itself.
const QUESTIONS = { experts: askExperts, traffic: askTraffic, doctor: askDoctor };

// Seconds between the beginnings of two requests, and at most after failures.
const INTERVAL = 1;
const LONGEST = 15;
// Seconds after which a request counts as failed.
const PATIENCE = 10;

const history = new History();
const health = { word: "", lost: [], drained: [], asked: -Infinity, known: null };
let shown = "chat";

/* Tabs: one in the order of the tabulator key, arrows between them. */

const tabs = [...document.querySelectorAll("[role=tab]")];

function show(name, isUser) {
  shown = name;
  for (const tab of tabs) {
    const isChosen = tab.getAttribute("aria-controls") === name;
    tab.setAttribute("aria-selected", String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
    if (isChosen && isUser) tab.focus();
    find(tab.getAttribute("aria-controls")).hidden = !isChosen;
  }
  // No element has such a name, so the browser neither scrolls to it nor gives it the focus.
  if (isUser) window.history.replaceState(null, "", `#/${name}`);
  draw();
  if (name === "traffic") showTraffic();
}

function followHash() {
  const name = location.hash.slice("#/".length);
  if (Object.hasOwn(VIEWS, name)) show(name, false);
}

for (const tab of tabs) {
  tab.addEventListener("click", () => show(tab.getAttribute("aria-controls"), true));
  tab.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(tab);
    const to = {
      ArrowRight: (at + 1) % tabs.length, ArrowLeft: (at + tabs.length - 1) % tabs.length,
      Home: 0, End: tabs.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(tabs[to].getAttribute("aria-controls"), true);
  });
}
window.addEventListener("hashchange", followHash);
document.querySelector(".skip").addEventListener("click", (event) => {
  // The address' fragment names the view.
  event.preventDefault();
  find("main").focus();
});

function draw() {
  if (history.last) VIEWS[shown](history, health);
}

let resizing = 0;
window.addEventListener("resize", () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(() => {
    draw();
    if (shown === "experts") showLayers();
    if (shown === "traffic") showTraffic();
  });
});

/* The key. */

function askReader(reason) {
  const dialog = find("key-dialog");
  const [input, form] = [find("key-input"), find("key-form")];
  say(find("key-reason"), reason);
  input.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const listening = new AbortController();
    const on = (node, kind, act) =>
      node.addEventListener(kind, act, { signal: listening.signal });
    const close = (key) => {
      listening.abort();
      if (dialog.open) dialog.close();
      input.value = "";
      resolve(key);
    };
    on(form, "submit", (event) => {
      event.preventDefault();
      const key = input.value.trim();
      if (/^[\x21-\x7e]+$/.test(key)) return close(key);
      say(find("key-reason"), "A key is of letters, digits and signs of ASCII, without spaces.");
    });
    on(find("key-cancel"), "click", () => close(null));
    on(find("key-forget"), "click", () => {
      server.key = "";
      close(null);
    });
    on(dialog, "close", () => close(null));
  });
}

const server = new Server(askReader);
const chat = new Chat(server);

find("key-open").addEventListener("click", async () => {
  const reason = server.key ? "A key is in use. Another one takes its place."
    : "A key is sent with every request of this page.";
  if (await server.askForKey(reason)) begin();
});

/* What the server is doing. */

function announce(word, isBad) {
  const node = find("state-word");
  node.classList.toggle("bad", isBad);
  if (node.textContent === word) return;
  say(node, word);
  say(find("announcement"), `Server: ${word}`);
}

/** How many ranks take no part, by why. */
const away = ({ server }) => `${server.ranks_lost} ${server.ranks_drained}`;

async function askHealth(sample) {
  health.known = away(sample);
  health.asked = performance.now() / 1000;
  const response = await fetch("health", {
    cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(1000 * PATIENCE) });
  const body = await response.json();
  health.word = String(body.status);
  // A server that recovers does not say from whose loss.
  if (body.lost_ranks || body.drained_ranks || health.word === "ready") {
    health.lost = (body.lost_ranks ?? []).map(Number);
    health.drained = (body.drained_ranks ?? []).map(Number);
  }
}

/**
 * `/health` is asked when the count of lost or drained ranks changes, and now and then while texts
 * are under way: on an idle server it costs a token.
 */
function isHealthDue(sample) {
  const age = performance.now() / 1000 - health.asked;
  const isWell = ["ready", "degraded"].includes(health.word);
  return away(sample) !== health.known || (!isWell && age > 3)
    || (sample.server.generations > 0 && age > 30);
}

function showState(sample) {
  const running = history.ranks.reduce(
    (sum, rank) => sum + (history.gauge(rank, "num_requests_running") ?? 0), 0);
  const sum = history.growth(null);
  const rate = sum ? sum.generation_tokens_total / sum.seconds : 0;
  const parts = ["lost", "drained"].filter((word) => health[word].length)
    .map((word) => `${word} rank ${health[word].join(", ")}`);
  announce(health.word + (parts.length ? `: ${parts.join("; ")}` : ""), health.word !== "ready");
  say(find("state-figures"), `${count(allRanks(history, health).length, "rank")}, `
    + `${figure(running)} running, ${count(sample.server.generations, "text")}, `
    + `${figure(rate)} tokens/s`);
}

async function showSample(sample) {
  if (isHealthDue(sample)) {
    // What stands between here and the server may keep its health to itself.
    try { await askHealth(sample); } catch { health.word = "unknown"; }
  }
  if (!chat.model) learn();
  QUESTIONS[shown]?.(server);
  showState(sample);
  draw();
}

let isLearning = false;

/** Finds out the model and the version; again after the server was silent or asked for a key. */
async function learn() {
  if (isLearning) return;
  isLearning = true;
  try {
    await chat.learn();
    const { version } = await (await server.ask("version")).json();
    say(find("version"), `Apus ${version}.`);
  } catch (error) {
    if (!(error instanceof ServerError)) announce("no answer from the server", true);
  }
  isLearning = false;
}

let failures = 0;
let timer = null;
let isUnderWay = false;

/** One poll of the server, and the next one a second after its beginning. */
async function poll() {
  clearTimeout(timer);
  if (document.hidden || isUnderWay) return;
  isUnderWay = true;
  const begun = performance.now();
  let sample = null;
  try {
    const response = await server.ask("metrics", { seconds: PATIENCE, isQuiet: true });
    sample = parse(await response.text(), performance.now() / 1000);
    history.add(sample);
    failures = 0;
  } catch (error) {
    failures += 1;
    const isKey = error instanceof ServerError && error.status === 401;
    announce(isKey ? "needs an API key"
      : error instanceof ServerError ? error.line : "no answer from the server", true);
    say(find("state-figures"), "");
    health.known = null;
  }
  if (sample) await showSample(sample);
  isUnderWay = false;
  const pause = failures ? Math.min(LONGEST, INTERVAL * 2 ** failures) : INTERVAL;
  timer = setTimeout(poll, Math.max(0, 1000 * pause - (performance.now() - begun)));
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) poll();
});

function begin() {
  poll();
  learn();
}

find("layers-group").addEventListener("change", showLayers);
find("layers-map").addEventListener("pointermove", nameExpert);
find("traffic-map").addEventListener("pointermove", namePair);
fillLegend(find("traffic-legend"), [["experts", "inside a node"], ["exposed", "across nodes"]]);
find("exchange-rank").addEventListener("change", () => { if (history.last) draw(); });

show("chat", false);
followHash();
begin();
