// The view of the doctor: what the checks before the job's start found.

import { count, fillTable, find, say } from "./page-draw.js";

// Seconds between two questions for a report that only another start changes.
const INTERVAL = 60;
const ORDER = ["FAIL", "WARN", "PASS"];

const latest = { asked: -Infinity, isUnderWay: false, key: null };

/** Asks for the report when it is time to, or when the key is another one, and shows it. */
export async function askDoctor(server) {
  const now = performance.now() / 1000;
  if (latest.isUnderWay || (now - latest.asked < INTERVAL && latest.key === server.key)) return;
  latest.isUnderWay = true;
  [latest.asked, latest.key] = [now, server.key];
  try {
    const response = await server.ask("doctor", { seconds: 10, isQuiet: true });
    show(await response.json());
  } catch (error) {
    show(null, error.status === 404
      ? "No report is kept: apus launch checks the hosts of a job before it starts, and keeps one."
      : `The report could not be asked for: ${error.line ?? error.message}`);
  }
  latest.isUnderWay = false;
}

function show(report, fault = "") {
  say(find("doctor-fault"), fault);
  find("doctor-fault").hidden = fault === "";
  find("doctor-lines").hidden = !report;
  if (!report) return say(find("doctor-summary"), "");
  const { failures, warnings, findings } = report;
  const made = new Date(report.made);
  say(find("doctor-summary"), `Job ${report.job}: ${count(failures, "failure")}, `
    + `${count(warnings, "warning")}, ${findings.length - failures - warnings} passed`
    + (Number.isNaN(made.getTime()) ? "." : `, on ${made.toLocaleString()}.`));
  const sorted = [...findings].sort(
    (a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity));
  fillTable(find("doctor-table"), ["Result", "Check", "Host", "Fact", "Remedy"],
    sorted.map(({ severity, check, host, fact, remedy }) => ({
      isBad: severity === "FAIL", cells: [severity, check, host, fact, remedy],
    })), 5);
}
