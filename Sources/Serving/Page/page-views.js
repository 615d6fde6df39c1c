// The views of figures: each takes the history and fills its panel.

import {
  NONE, areaChart, count, duration, figure, fillCards, fillLegend, fillTable, find, percent, say,
  shape,
} from "./page-draw.js";
import { SPLIT_SERIES, label, quantile, split } from "./page-metrics.js";

/** Ranks that are known, those that are away among them. */
export function allRanks(history, health) {
  return [...new Set([...history.ranks, ...health.lost, ...health.drained])].sort((a, b) => a - b);
}

/** What a rank does, in a word. */
function state(history, health, rank, sum) {
  if (health.lost.includes(rank)) return "lost";
  if (health.drained.includes(rank)) return "drained";
  if (!sum) return "measuring";
  if (sum.steps_total > 0) return history.gauge(rank, "num_requests_running") > 0
    ? "working" : "joining";
  return history.gauge(rank, "num_requests_running") > 0 ? "no steps" : "idle";
}

const perSecond = (sum, name) => (sum ? sum[name] / sum.seconds : undefined);
const perStep = (sum, name) => (sum?.steps_total ? sum[name] / sum.steps_total : undefined);

// The parts of a step that the map and its table show, in the order in which they are drawn.
const PARTS = [
  ["experts", "routed experts"], ["other", "attention and the rest"],
  ["exposed", "exposed all-to-all"], ["wait", "waiting for all ranks to begin"],
];

export function showCluster(history, health) {
  const ranks = allRanks(history, health).map((rank) => {
    const sum = history.growth(rank);
    return {
      rank, sum, shares: split(sum), state: state(history, health, rank, sum),
      tokens: perSecond(sum, "generation_tokens_total"),
    };
  });
  const lost = ranks.filter(({ state }) => state === "lost").map(({ rank }) => rank);
  const rate = ranks.reduce((sum, { tokens }) => sum + (tokens ?? 0), 0);
  say(find("cluster-summary"), `${count(ranks.length, "rank")}, ${figure(rate)} tokens/s. `
    + (lost.length ? `Lost: ${lost.join(", ")}. The others serve their experts and requests.`
      : "No rank is lost."));
  const map = find("cluster-map");
  map.replaceChildren(drawMap(ranks, Math.max(280, map.clientWidth)));
  fillLegend(find("cluster-legend"), PARTS);
  fillTable(find("cluster-table"), [
    "Rank", "State", "Steps/s", "Tokens/s", "Prompt tokens/s", "Running", "Waiting", "Experts",
    "Rest", "Exposed all-to-all", "Waiting to begin", "Step",
  ], ranks.map(({ rank, sum, shares, state, tokens }) => ({
    isBad: state === "lost",
    cells: [
      String(rank), state, figure(perSecond(sum, "steps_total")), figure(tokens),
      figure(perSecond(sum, "prompt_tokens_total")),
      figure(history.gauge(rank, "num_requests_running")),
      figure(history.gauge(rank, "num_requests_waiting")),
      ...["experts", "other", "exposed", "wait"].map((part) => percent(shares?.[part])),
      duration(perStep(sum, "step_seconds_total")),
    ],
  })), 2);
}

/** The server above, its ranks below: lines are requests, bars are where the time of steps went. */
function drawMap(ranks, width) {
  const [tile, tall, gap, top] = [140, 84, 14, 58];
  const columns = Math.max(1, Math.min(ranks.length, Math.floor((width - 24) / (tile + gap))));
  const rows = Math.ceil(ranks.length / columns);
  const height = top + rows * (tall + gap + 10);
  const margin = (width - columns * tile - (columns - 1) * gap) / 2;
  const busiest = Math.max(1, ...ranks.map(({ tokens }) => tokens ?? 0));
  const drawing = shape("svg", {
    viewBox: `0 0 ${width} ${height}`, height, role: "img",
    "aria-label": "Map of ranks below the HTTP server; the table has the same figures.",
  });
  ranks.forEach((entry, index) => {
    const column = index % columns;
    const x = margin + column * (tile + gap);
    const y = top + Math.floor(index / columns) * (tall + gap + 10);
    const trunk = margin / 2;
    const kind = entry.state === "lost" ? "cut" : entry.tokens > 0 ? "" : "idle";
    // Rows below the first are reached past the left edge.
    const path = index < columns
      ? `M${width / 2} 34 V44 H${x + tile / 2} V${y}`
      : `M${width / 2} 34 V44 H${trunk} V${y - 8} H${x + tile / 2} V${y}`;
    drawing.append(shape("path", {
      d: path, class: `way ${kind}`,
      "stroke-width": kind ? 1.5 : (1.5 + 3 * entry.tokens / busiest).toFixed(1) }));
    drawing.append(drawRank(entry, x, y, tile, tall));
  });
  drawing.append(
    shape("rect", { x: width / 2 - 70, y: 4, width: 140, height: 30, rx: 5, class: "tile" }),
    shape("text", { x: width / 2, y: 24, class: "strong", "text-anchor": "middle" },
      "HTTP server"));
  return drawing;
}

function drawRank({ rank, state, shares, tokens }, x, y, width, height) {
  const isLost = state === "lost";
  const group = shape("g", { transform: `translate(${x.toFixed(1)} ${y})` },
    shape("rect", { width, height, rx: 5, class: isLost ? "lost" : "tile" }),
    shape("text", { x: 9, y: 20, class: "strong" }, `rank ${rank}`),
    shape("text", { x: width - 9, y: 20, class: isLost ? "bad" : "dim", "text-anchor": "end" },
      state),
    shape("text", { x: 9, y: 44 }, isLost ? NONE : `${figure(tokens)} tokens/s`));
  let from = 9;
  for (const [part] of PARTS) {
    const size = (width - 18) * (shares?.[part] ?? 0);
    if (size > 0) {
      group.append(shape("rect", {
        x: from.toFixed(1), y: height - 24, width: size.toFixed(1), height: 14, class: part }));
    }
    from += size;
  }
  return group;
}

// Seconds of the chart, and of a row of its table.
const SPAN = 300;
const ROW = 10;

export function showExchange(history) {
  const choice = find("exchange-rank");
  fillChoice(choice, history.ranks);
  const rank = choice.value === "" ? null : Number(choice.value);
  const points = history.samples.map((sample, end) => {
    const sum = history.growth(rank, 3, end, SPLIT_SERIES);
    // While nobody saw the page it asked nothing: that is a gap, not a mean.
    const shares = sum && sum.seconds < ROW ? split(sum) : null;
    return {
      age: history.last.time - sample.time,
      values: shares && [shares.hidden, shares.exposed],
    };
  });
  const now = history.growth(rank);
  const shares = split(now);
  const text = shares
    ? `All-to-all is under way in ${percent(shares.travel)} of step time: `
      + `${percent(shares.hidden)} hidden behind computation, ${percent(shares.exposed)} exposed. `
      + `Of the exposed part ${percent(shares.skew / (shares.exposed || 1))} is waiting for `
      + "ranks that had not begun."
    : "No step is made now: all-to-all has no time.";
  say(find("exchange-summary"), text);
  const box = find("exchange-chart");
  box.replaceChildren(areaChart(points, ["hidden", "exposed"], {
    width: Math.max(280, box.clientWidth), span: SPAN,
    alternative: `Hidden and exposed all-to-all over five minutes. Now: ${text}` }));
  fillLegend(find("exchange-legend"), [
    ["hidden", "hidden behind computation"], ["exposed", "exposed: the step waits"]]);
  fillTable(find("exchange-history"), ["Seconds ago", "Steps", "All-to-all", "Hidden", "Exposed"],
    chartRows(history, rank));
  fillTable(find("exchange-table"), [
    "Rank", "All-to-all", "Hidden", "Exposed", "Of it waiting for ranks", "Dispatch a step",
    "Combine a step",
  ], history.ranks.map((rank) => {
    const sum = history.growth(rank);
    const shares = split(sum);
    return {
      cells: [
        String(rank), percent(shares?.travel), percent(shares?.hidden), percent(shares?.exposed),
        percent(shares?.skew), duration(perStep(sum, "dispatch_seconds_total")),
        duration(perStep(sum, "combine_seconds_total")),
      ],
    };
  }));
}

function fillChoice(choice, ranks) {
  const wanted = ["", ...ranks.map(String)];
  if (wanted.join() === [...choice.options].map(({ value }) => value).join()) return;
  const chosen = choice.value;
  choice.replaceChildren(...wanted.map((value) => new Option(
    value === "" ? "all ranks together" : `rank ${value}`, value)));
  choice.value = wanted.includes(chosen) ? chosen : "";
}

/** The chart's figures as rows of ten seconds. */
function chartRows(history, rank) {
  const rows = [];
  let end = history.samples.length - 1;
  while (end > 0) {
    const sum = history.growth(rank, ROW, end, SPLIT_SERIES);
    if (!sum || sum.seconds < ROW / 2) break;
    if (sum.seconds > 2 * ROW) {
      // The page was not read: there is no mean of ten seconds.
      end -= 1;
      continue;
    }
    const shares = split(sum);
    rows.push({
      cells: [
        figure(Math.round(history.last.time - history.samples[end].time)), figure(sum.steps_total),
        percent(shares?.travel), percent(shares?.hidden), percent(shares?.exposed),
      ],
    });
    const start = history.samples[end].time - sum.seconds;
    while (end > 0 && history.samples[end].time > start) end -= 1;
  }
  return rows;
}

// How long "the last minute" is.
const RECENT = 60;

export function showRequests(history) {
  const sum = history.growth(null);
  const recent = history.growth(null, RECENT);
  const total = (name) => history.ranks.reduce(
    (sum, rank) => sum + (history.gauge(rank, name) ?? 0), 0);
  const ratio = (part, whole) => (whole > 0 ? part / whole : undefined);
  const server = history.last.server;
  const usage = history.ranks.map((rank) => history.gauge(rank, "kv_cache_usage_perc") ?? 0);
  fillCards(find("requests-cards"), [
    ["Running", figure(total("num_requests_running"))],
    ["Waiting", figure(total("num_requests_waiting"))],
    ["Texts under way", figure(server.generations)],
    ["Tokens/s", figure(perSecond(sum, "generation_tokens_total"))],
    ["Prompt tokens/s", figure(perSecond(sum, "prompt_tokens_total"))],
    ["Cache used, fullest rank", percent(Math.max(0, ...usage))],
    ["Prefix hits, last minute", percent(ratio(
      recent?.prefix_cache_hits_total, recent?.prefix_cache_queries_total))],
    ["Prefix hits, since start", percent(ratio(
      total("prefix_cache_hits_total"), total("prefix_cache_queries_total")))],
    ["Drafts accepted", percent(ratio(
      total("spec_decode_num_accepted_tokens_total"),
      total("spec_decode_num_draft_tokens_total")))],
    ["Set back for want of room", figure(total("num_preemptions_total"))],
    ["Connections", figure(server.http_connections)],
    ["Connections refused", figure(server.http_connections_refused_total)],
  ]);
  showTimes(history);
  fillTable(find("requests-ranks"), [
    "Rank", "Running", "Waiting", "Cache used", "Blocks of prefixes only", "Prefix hits",
  ], history.ranks.map((rank) => {
    const value = (name) => history.gauge(rank, name);
    return {
      cells: [
        String(rank), figure(value("num_requests_running")), figure(value("num_requests_waiting")),
        percent(value("kv_cache_usage_perc")), figure(value("prefix_cache_blocks")),
        percent(ratio(value("prefix_cache_hits_total"), value("prefix_cache_queries_total"))),
      ],
    };
  }));
  const answers = history.labelledRates("http_requests_total", RECENT);
  const texts = history.labelledRates("request_success_total", RECENT);
  fillTable(find("requests-answers"), ["Path", "Status or end", "Count", "A minute"], [
    ...answers.map(([labels, value, rate]) => ({
      isBad: label(labels, "status") >= "500",
      cells: [label(labels, "endpoint"), label(labels, "status"), figure(value), figure(60 * rate)],
    })),
    ...texts.map(([labels, value, rate]) => ({
      cells: ["texts", label(labels, "finished_reason"), figure(value), figure(60 * rate)],
    })),
  ], 2);
}

function showTimes(history) {
  const rows = [
    ["To the first token", "time_to_first_token_seconds"],
    ["Between tokens", "time_per_output_token_seconds"],
    ["Whole text", "e2e_request_latency_seconds"],
  ].flatMap(([title, name]) => [["last minute", RECENT], ["since start", null]].map(
    ([span, seconds]) => {
      const buckets = history.histogram(name, seconds);
      const value = (q) => {
        const found = quantile(buckets, q);
        return found ? (found.isLeast ? "over " : "") + duration(found.value) : NONE;
      };
      return {
        cells: [title, span, value(.5), value(.95), value(.99), figure(buckets.at(-1)?.[1] ?? 0)],
      };
    }));
  fillTable(find("requests-times"), ["Time", "Over", "Half below", "95 % below", "99 % below",
    "Count"], rows, 2);
}
