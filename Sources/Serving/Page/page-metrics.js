// What /metrics says, over time: samples of a few minutes, and rates between them. Nothing here
// touches the document.

// Every series that the page reads; a test compares the list with what the server says.
export const PREFIX = "apus:";
export const RANK_SERIES = [
  "num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prefix_cache_blocks",
  "prefix_cache_queries_total", "prefix_cache_hits_total", "prompt_tokens_total",
  "generation_tokens_total", "spec_decode_num_draft_tokens_total",
  "spec_decode_num_accepted_tokens_total", "num_preemptions_total", "steps_total",
  "step_seconds_total", "step_wait_seconds_total", "dispatch_seconds_total",
  "combine_seconds_total", "all_to_all_seconds_total", "expert_compute_seconds_total",
  "all_to_all_skew_seconds_total", "all_to_all_exposed_seconds_total", "expert_load_ratio",
  "expert_imbalance",
];
export const SERVER_SERIES = [
  "http_connections", "http_connections_refused_total", "ranks_lost", "ranks_drained",
  "generations",
];
export const LABELLED_SERIES = ["http_requests_total", "request_success_total"];
export const HISTOGRAMS = [
  "time_to_first_token_seconds", "time_per_output_token_seconds", "e2e_request_latency_seconds",
];

const RANK_NAMES = new Set(RANK_SERIES);
const COUNTERS = RANK_SERIES.filter((name) => name.endsWith("_total"));

// What `split` reads.
export const SPLIT_SERIES = [
  "steps_total", "step_seconds_total", "step_wait_seconds_total", "all_to_all_seconds_total",
  "all_to_all_exposed_seconds_total", "all_to_all_skew_seconds_total",
  "expert_compute_seconds_total",
];

/** The values of a text in Prometheus' format, for the series above; others are passed over. */
export function parse(text, time) {
  const sample = { time, ranks: new Map(), server: {}, labelled: {}, buckets: {} };
  for (const name of LABELLED_SERIES) sample.labelled[name] = new Map();
  for (const name of HISTOGRAMS) sample.buckets[name] = [];
  const line = /^([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})? (\S+)$/gm;
  for (const [, full, labels = "", number] of text.matchAll(line)) {
    if (!full.startsWith(PREFIX)) continue;
    const name = full.slice(PREFIX.length);
    const value = number === "+Inf" ? Infinity : Number(number);
    if (Number.isNaN(value)) continue;
    if (RANK_NAMES.has(name)) {
      const rank = Number(label(labels, "rank"));
      if (!sample.ranks.has(rank)) sample.ranks.set(rank, {});
      sample.ranks.get(rank)[name] = value;
    } else if (SERVER_SERIES.includes(name)) {
      sample.server[name] = value;
    } else if (LABELLED_SERIES.includes(name)) {
      sample.labelled[name].set(labels, value);
    } else if (name.endsWith("_bucket")) {
      const bound = label(labels, "le");
      sample.buckets[name.slice(0, -"_bucket".length)]?.push(
        [bound === "+Inf" ? Infinity : Number(bound), value]);
    }
  }
  return sample;
}

/** The value of one label in `a="x",b="y"`. */
export function label(labels, name) {
  return labels.match(new RegExp(`(?:^|,)${name}="([^"]*)"`))?.[1];
}

/** A counter's growth; one that fell began anew, because its rank did. */
const growth = (now, then = 0) => (now >= then ? now - then : now);

/** The samples of the last minutes. */
export class History {
  // Seconds: five minutes, which is what the chart shows.
  static limit = 300;
  // Over which "now" is measured: short enough to be live, long enough for a few steps.
  static now = 5;

  samples = [];

  add(sample) {
    this.samples.push(sample);
    while (sample.time - this.samples[0].time > History.limit) this.samples.shift();
  }

  get last() { return this.samples.at(-1); }

  /** Ranks that the last sample has, in order. */
  get ranks() { return [...(this.last?.ranks.keys() ?? [])].sort((a, b) => a - b); }

  /**
   * The latest sample that is at least so many seconds older than the one at `end`; where that
   * lacks the rank, because the rank was silent, the first one after it that has the rank.
   */
  before(seconds, end = this.samples.length - 1, rank = null) {
    let index = end;
    while (index > 0 && this.samples[end].time - this.samples[index].time < seconds) index -= 1;
    if (rank !== null) while (index < end && !this.samples[index].ranks.has(rank)) index += 1;
    return this.samples[index];
  }

  /** A rank's gauge now; undefined where the server does not say it. */
  gauge(rank, name) { return this.last?.ranks.get(rank)?.[name]; }

  /**
   * How much each counter of a rank grew, and the seconds between; null without two samples.
   * `rank` null takes all ranks together.
   */
  growth(rank, seconds = History.now, end = this.samples.length - 1, names = COUNTERS) {
    const [now, then] = [this.samples[end], this.before(seconds, end, rank)];
    if (!now || now === then) return null;
    const sum = { seconds: now.time - then.time };
    for (const [number, values] of now.ranks) {
      const old = then.ranks.get(number);
      if ((rank !== null && number !== rank) || !old) continue;
      for (const name of names) {
        sum[name] = (sum[name] ?? 0) + growth(values[name] ?? 0, old[name]);
      }
    }
    return sum.steps_total === undefined ? null : sum;
  }

  /** How much a histogram grew in so many seconds; null seconds: since the server's start. */
  histogram(name, seconds) {
    const now = this.last?.buckets[name] ?? [];
    if (seconds === null) return now;
    const then = new Map(this.before(seconds).buckets[name]);
    return now.map(([bound, count]) => [bound, growth(count, then.get(bound))]);
  }

  /** How much each labelled counter grew a second. */
  labelledRates(name, seconds) {
    const [now, then] = [this.last, this.before(seconds)];
    return [...now.labelled[name]].map(([labels, value]) => [
      labels, value,
      now === then ? 0
        : growth(value, then.labelled[name].get(labels)) / (now.time - then.time),
    ]);
  }
}

/**
 * The value below which the share `q` of a histogram's counts lies, as `histogram_quantile` of
 * Prometheus: between two bounds counts lie evenly, and what is above the last one is the last one.
 */
export function quantile(buckets, q) {
  const total = buckets.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  const index = buckets.findIndex(([, count]) => count >= q * total);
  const [bound, count] = buckets[index];
  if (bound === Infinity) return { value: buckets.at(-2)[0], isLeast: true };
  const [low, below] = index > 0 ? buckets[index - 1] : [0, 0];
  return { value: low + (bound - low) * ((q * total - below) / (count - below)), isLeast: false };
}

/**
 * Where the time of a rank's steps went, as shares of it, which do not overlap: waiting for all
 * ranks to begin, all-to-all that nothing hid, routed experts, and everything else. Null of a rank
 * that made no step.
 */
export function split(sum) {
  const whole = sum?.step_seconds_total;
  if (!whole) return null;
  const share = (seconds) => Math.min(1, seconds / whole);
  const wait = share(sum.step_wait_seconds_total);
  const exposed = share(sum.all_to_all_exposed_seconds_total);
  const experts = share(sum.expert_compute_seconds_total);
  const travel = share(sum.all_to_all_seconds_total);
  return {
    wait, exposed, experts, travel,
    hidden: Math.max(0, travel - exposed),
    skew: share(sum.all_to_all_skew_seconds_total),
    other: Math.max(0, 1 - wait - exposed - experts),
  };
}
