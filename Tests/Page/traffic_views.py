"""The views of traffic and of the doctor, held to what the server itself says."""

import json

from checks import check, number, show, table
from servers import read

# The cells of both tables, once no pair of ranks is without a rate.
SENT = """(() => {
  const [pairs, sums] = ["traffic-table", "traffic-sums"].map((name) =>
    [...document.querySelectorAll(`#${name} tbody tr`)].map((row) =>
      [...row.cells].map((cell) => cell.textContent)));
  const rates = pairs.flatMap((row, rank) => row.slice(2).filter((_, to) => to !== rank));
  return rates.length > 0 && rates.every((rate) => parseFloat(rate) > 0) && [pairs, sums];
})()"""
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def size(text):
    """Bytes of a text such as `1.25 MB/s`."""
    return number(text) * UNITS[text.replace("\u00a0", " ").split()[1].split("/")[0]]


def traffic(browser, server, ranks):
    show(browser, "traffic")
    browser.wait("the table has a row for each rank",
                 "document.querySelectorAll('#traffic-table tbody tr').length === arguments[0]",
                 ranks)
    # All at one moment: the page draws anew every 2 s.
    rows, sums = browser.wait("every rank sends to every other one", SENT)
    said = json.loads(read(server.url + "/traffic"))
    check(said["ranks"], said["ranks"] == list(range(ranks)))
    check("one node", len(set(said["nodes"])) == 1)
    node = said["nodes"][0] or "\u2013"
    for rank, row in enumerate(rows):
        check(row, row[:2] == [str(rank), node] and len(row) == 2 + ranks)
        for to, cell in enumerate(row[2:]):
            # Rates change while texts are written: that they are rates of a pair is seen.
            check((row, to), cell == "\u2013" if to == rank else size(cell) > 0 and "*" not in cell)
    totals = said["sent_bytes"]
    for rank, row in enumerate(sums):
        pairs = sum(size(cell) for to, cell in enumerate(rows[rank][2:]) if to != rank)
        check((row, rows[rank]), abs(size(row[2]) - pairs) < 0.7 * pairs and size(row[3]) == 0)
        check((row, totals), 0 < size(row[5]) <= 1.01 * totals[rank])
        check(row, row[4] != str(rank))
    check("something is drawn", browser.js(
        "const map = document.querySelector('#traffic-map');"
        "const data = map.getContext('2d').getImageData(0, 0, map.width, map.height).data;"
        "return new Set(new Uint32Array(data.buffer)).size > 3"))
    title = browser.js(
        "const map = document.querySelector('#traffic-map');"
        "const box = map.getBoundingClientRect();"
        "map.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + 60,"
        " clientY: box.top + 36 })); return map.title")
    check(title, title.startswith("rank 0 to rank "))


def doctor_of_serve(browser):
    show(browser, "doctor")
    browser.wait("says that no report is kept", "document.querySelector('#doctor-fault')"
                 ".textContent.includes('No report is kept')")
    check("no line is made up", table(browser, "doctor-table") == [])


def doctor(browser, server):
    show(browser, "doctor")
    browser.wait("lines are shown", "!document.querySelector('#doctor-lines').hidden")
    report = json.loads(read(server.url + "/doctor"))
    rows = table(browser, "doctor-table")
    wanted = [[line[key] for key in ("severity", "check", "host", "fact", "remedy")]
              for line in report["findings"]]
    check(rows, sorted(rows) == sorted(wanted) and len(rows) > 5)
    severities = [row[0] for row in rows]
    check(severities, severities == sorted(severities, key=["FAIL", "WARN", "PASS"].index))
    check(report["job"], report["job"] == "page")
    check("the job's name", "Job page: " in browser.text("#doctor-summary"))
