"""The views of numbers, held to what the server itself says."""

import json
import os
import re
import signal
import time

from appearance import views
from browser import PATIENCE
from checks import check, number, quantile, series, show, table
from servers import read


def cluster(browser, server, ranks):
    show(browser, "cluster")
    browser.wait("ranks work", "[...document.querySelectorAll('#cluster-table td:nth-child(4)')]"
                 ".some(cell => parseFloat(cell.textContent) > 0)")
    rows = table(browser, "cluster-table")
    check(rows, [row[0] for row in rows] == [str(rank) for rank in range(ranks)])
    check(rows, all(row[1] in ("working", "joining") for row in rows))
    for row in rows:
        shares = [number(cell) for cell in row[7:11]]
        check((row, "shares of one whole"), 97 < sum(shares) < 103)
    check("the map", browser.js(
        "return [...document.querySelectorAll('#cluster-map text')].filter("
        "text => /^rank \\d+$/.test(text.textContent)).length") == ranks)
    check("a drawing has a name", browser.js(
        "return document.querySelector('#cluster-map svg').getAttribute('aria-label').length > 20"))


def rates(browser, server):
    """The page's arithmetic on two real texts of /metrics, beside the same written down here."""
    texts = [read(server.url + "/metrics")]
    time.sleep(2)
    texts.append(read(server.url + "/metrics"))
    # In between rank 1 is silent.
    silent = re.sub(r'^apus:\w+\{rank="1"\}.*\n', "", texts[0], flags=re.M)
    found = browser.js("""
        return import("./page-metrics.js").then(({ History, parse, split }) => {
          const history = new History();
          history.add(parse(arguments[1], 10));
          history.add(parse(arguments[0], 12));
          history.add(parse(arguments[2], 16));
          return [0, 1, null].map((rank) => [history.growth(rank), split(history.growth(rank))]);
        });""", texts[0], silent, texts[1])
    growth = {}
    for name in ("steps_total", "step_seconds_total", "all_to_all_exposed_seconds_total",
                 "all_to_all_seconds_total"):
        growth[name] = [value[1] - value[0] for value in (
            [float(re.search(rf'^apus:{name}\{{rank="{rank}"\}} (\S+)$', text, re.M)[1])
             for text in texts] for rank in (0, 1))]
    check(growth, min(growth["steps_total"]) > 0)
    for rank, seconds in ((0, 6), (1, 4)):
        sums, shares = found[rank]
        check((sums, seconds), sums["seconds"] == seconds)
        for name, values in growth.items():
            check((name, sums, values), abs(sums[name] - values[rank]) < 1e-9)
        whole = growth["step_seconds_total"][rank]
        exposed = growth["all_to_all_exposed_seconds_total"][rank] / whole
        travel = growth["all_to_all_seconds_total"][rank] / whole
        check((shares, exposed), abs(shares["exposed"] - exposed) < 1e-9)
        check((shares, travel), abs(shares["hidden"] - max(0, travel - exposed)) < 1e-9)


def exchange(browser):
    show(browser, "exchange")
    browser.wait("the chart has both areas",
                 "document.querySelector('#exchange-chart .hidden') && "
                 "document.querySelector('#exchange-chart .exposed')")
    text = browser.text("#exchange-summary")
    travel, hidden, exposed = [float(word) for word in re.findall(r"([\d.]+)\s%", text)[:3]]
    check(text, abs(travel - hidden - exposed) < 2 and 0 < travel <= 100)
    name = browser.js(
        "return document.querySelector('#exchange-chart svg').getAttribute('aria-label')")
    check(name, "exposed" in name and "%" in name)
    browser.click("#exchange summary")
    check("the chart as a table", len(table(browser, "exchange-history")) >= 1)
    browser.click("#exchange summary")
    shown = browser.js(
        "const rank = document.querySelector('#exchange-rank'); rank.value = '1';"
        "const before = document.querySelector('#exchange-chart').firstChild;"
        "rank.dispatchEvent(new Event('change'));"
        "return before !== document.querySelector('#exchange-chart').firstChild")
    check("a choice is shown at once", shown)
    time.sleep(1.5)
    check("the choice stays", browser.js(
        "return document.querySelector('#exchange-rank').value") == "1")


def requests(browser, server):
    show(browser, "requests")
    time.sleep(2.5)
    rows = {(row[0], row[1]): row[2:] for row in table(browser, "requests-times")}
    for title, name in [("To the first token", "time_to_first_token_seconds"),
                        ("Between tokens", "time_per_output_token_seconds"),
                        ("Whole text", "e2e_request_latency_seconds")]:
        row = rows[(title, "since start")]
        for cell, q in zip(row, (0.5, 0.95, 0.99)):
            wanted = quantile(server.url, name, q)
            shown = number(cell) / (1000 if cell.endswith("ms") else 1)
            check((title, q, cell, wanted), abs(shown - wanted) <= 0.01 * wanted)
        check((title, row), number(row[3]) == series(server.url, name + "_count")[""])
        check(title, number(rows[(title, "last minute")][3]) <= number(row[3]))
    answers = table(browser, "requests-answers")
    chats = series(server.url, "http_requests_total")
    for row in answers:
        if row[0].startswith("/v1"):
            label = f'endpoint="{row[0]}",status="{row[1]}"'
            check((row, chats), number(row[2]) == chats[label])
    check(answers, any(row[:2] == ["/v1/chat/completions", "400"] for row in answers))
    cards = dict(browser.js("return [...document.querySelectorAll('#requests-cards div')].map("
                            "card => [...card.children].map(part => part.textContent))"))
    check(cards, cards["Running"] == "0" and cards["Waiting"] == "0")
    check(cards, cards["Prefix hits, since start"].endswith("%"))


def experts_of_serve(browser):
    show(browser, "experts")
    browser.wait("says that nothing was counted", "document.querySelector('#experts-summary')"
                 ".textContent.includes('counted no tokens')")
    check("no row is made up", table(browser, "experts-table") == [])


def layers(browser, server):
    """The picture of layers and experts, beside what `/experts` says."""
    browser.wait("layers are shown", "!document.querySelector('#layers').hidden")
    group = json.loads(read(server.url + "/experts"))["groups"][0]
    check(group["ranks"], group["ranks"] == [0, 1, 2])
    rows = table(browser, "layers-table")
    counted = [number for number, layer in enumerate(group["layers"]) if any(layer["loads"])]
    check((rows, counted), [row[0] for row in rows] == [str(number) for number in counted])
    for row in rows:
        layer = group["layers"][int(row[0])]
        loads = layer["loads"]
        check(loads, abs(sum(loads) / len(loads) - 1) < 0.01)
        check(row, number(row[1]) >= 1 and number(row[3]) >= 1)
        check((row, layer["ranks"]), row[4] == ", ".join(
            str(rank) for rank in layer["ranks"][int(row[2])]))
    gains = [gain["imbalance"] for gain in group["gains"]]
    check(gains, sorted(gains, reverse=True) == gains and gains[0] <= group["imbalance"])
    check("no copy", "with no redundant copy" in browser.text("#layers-summary"))
    check("something is drawn", browser.js(
        "const map = document.querySelector('#layers-map');"
        "const data = map.getContext('2d').getImageData(0, 0, map.width, map.height).data;"
        "return new Set(new Uint32Array(data.buffer)).size > 3"))
    box = browser.js(
        "const map = document.querySelector('#layers-map');"
        "map.dispatchEvent(Object.assign(new Event('pointermove'), {}));"
        "const event = new PointerEvent('pointermove', { clientX: map.getBoundingClientRect().left"
        " + 3, clientY: map.getBoundingClientRect().top + 3 });"
        "map.dispatchEvent(event); return map.title")
    check(box, box.startswith(f"layer {counted[0]}, expert 0: "))


def lost_rank(browser, server):
    """A job with a coordinator: loads of experts, then a rank that is killed."""
    browser.open(server.url + "/")
    show(browser, "experts")
    browser.wait("loads are shown",
                 "document.querySelectorAll('#experts-table tbody tr').length === 3")
    ratios = [number(row[2]) for row in table(browser, "experts-table")]
    check(ratios, abs(sum(ratios) / 3 - 1) < 0.05)
    # The page asks once a second, and the first tokens move the ratio: both agree at some moment.
    limit = time.monotonic() + PATIENCE
    while True:
        wanted = max(series(server.url, "expert_imbalance").values())
        text = browser.text("#experts-summary")
        if abs(number(text) - wanted) < 0.1:
            break
        check((text, wanted), time.monotonic() < limit)
        time.sleep(0.2)
    check("the next step", "apus placement what-if" in browser.text("#experts"))
    layers(browser, server)
    browser.picture("job-experts")
    show(browser, "cluster")
    os.kill(server.workers()[-1], signal.SIGKILL)
    browser.wait("the loss is said", "document.querySelector('#state-word').textContent"
                 ".startsWith('degraded: lost rank')", seconds=40)
    lost = json.loads(read(server.url + "/health"))["lost_ranks"]
    browser.wait("the table names it", "[...document.querySelectorAll('#cluster-table tr.bad')]"
                 ".map(row => row.cells[0].textContent + row.cells[1].textContent).join()"
                 " === arguments[0]", ",".join(f"{rank}lost" for rank in lost))
    check(browser.text("#cluster-summary"), f"Lost: {lost[0]}." in browser.text("#cluster-summary"))
    check("the map shows it", browser.js(
        "return document.querySelectorAll('#cluster-map rect.lost').length") == 1)
    views(browser, "job")
