"""The page in headless Chromium, view by view, against real servers.

Usage: walk.py FOLDER    (screenshots and logs go there)
"""

import json
import os
import pathlib
import re
import signal
import socket
import sys
import tempfile
import time

from browser import Browser
from servers import Front, Load, job, model_without_chats, post, read, serve

VIEWS = ["chat", "cluster", "experts", "exchange", "requests"]
STATUS = "document.querySelector('#chat-status').textContent"
ANSWER = "[...document.querySelectorAll('article .text')].at(-1)?.textContent"


def check(fact, value):
    if not value:
        raise AssertionError(fact)


def number(text):
    """The first number of a text of the page."""
    return float(re.search(r"\d[\d,]*\.?\d*", text)[0].replace(",", ""))


def table(browser, name):
    """A table's cells, row by row."""
    return browser.js(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].map("
        "row => [...row.cells].map(cell => cell.textContent))", name)


def show(browser, view):
    browser.click(f"#tab-{view}")
    browser.wait(f"{view} is shown", f"!document.querySelector('#{view}').hidden")


def say(browser, text):
    browser.write("#chat-input", text)
    browser.press("Enter")


def settings(browser, **values):
    """Writes into the fields of the chat's settings, which are folded at first."""
    if not browser.js("return document.querySelector('#chat-form details').open"):
        browser.click("#chat-form summary")
    for name, value in values.items():
        browser.write(f"#chat-{name}", value)


def ends(browser, word):
    browser.wait(f"the answer ends: {word}", f"{STATUS}.startsWith({json.dumps(word)})")


def series(url, name):
    """The samples of one series, by their labels."""
    return {labels: float(value) for labels, value in re.findall(
        rf"^apus:{name}(?:\{{(.*)\}})? (\S+)$", read(url + "/metrics"), re.M)}


def at_start(browser, server):
    browser.open(server.url + "/")
    browser.wait("the model is named",
                 "document.querySelector('#model').textContent.includes('stories-fp8')")
    browser.wait("the server's state is said",
                 "document.querySelector('#state-word').textContent === 'ready'")
    roles = [browser.label(f"#tab-{view}") for view in VIEWS]
    check(roles, [role for role, _ in roles] == ["tab"] * 5)
    for selector, role, name in [
        ("#tabs", "tablist", "Views"), ("#chat", "tabpanel", "Chat"),
        ("#conversation", "log", "Conversation"), ("#chat-input", "textbox", "Message"),
        ("#chat-send", "button", "Send"), ("#key-open", "button", "API key"),
    ]:
        check((selector, browser.label(selector)), browser.label(selector) == (role, name))


def keyboard(browser):
    """Every view by keys alone; one tab in the order of focus."""
    focus = "return document.activeElement.id || document.activeElement.className"
    browser.js("document.activeElement.blur()")
    browser.press("Tab")
    check("the link past the tabs comes first", browser.js(focus) == "skip")
    browser.press("Tab", "Tab")
    check(browser.js(focus), browser.js(focus) == "tab-chat")
    for view in VIEWS[1:]:
        browser.press("Right")
        check(view, browser.js(focus) == f"tab-{view}")
        check(view, browser.js(f"return !document.querySelector('#{view}').hidden"))
        check("one panel is seen", browser.js(
            "return document.querySelectorAll('[role=tabpanel]:not([hidden])').length") == 1)
    browser.press("Right")
    check("after the last the first", browser.js(focus) == "tab-chat")
    browser.press("End")
    check(browser.js(focus), browser.js(focus) == "tab-requests")
    browser.press("Home", "Tab")
    check("the panel follows its tab", browser.js(focus) == "conversation")
    browser.press("Tab")
    check(browser.js(focus), browser.js(focus) == "chat-input")


def chat(browser, server):
    # The focus is in the field already: a question by keys alone.
    browser.press(*"Tell me a story about dog and ball.", "Enter")
    ends(browser, "Complete.")
    text = browser.js(f"return {ANSWER}")
    check(text, len(text.split()) > 10)
    check(browser.text("#chat-status"), "tokens/s" in browser.text("#chat-status"))
    browser.picture("chat-answer")

    # What the settings say is what the model does: greedy, so many tokens, as the API has it.
    browser.click("#chat-clear")
    settings(browser, temperature="0", tokens="12")
    say(browser, "Tell me a story about rain.")
    ends(browser, "Complete. 12 tokens")
    wanted = json.loads(post(server.url + "/v1/chat/completions", {
        "messages": [{"role": "user", "content": "Tell me a story about rain."}],
        "max_tokens": 12, "temperature": 0}))["choices"][0]["message"]["content"]
    check((browser.js(f"return {ANSWER}"), wanted), browser.js(f"return {ANSWER}") == wanted)
    check("why it ended", "limit of tokens" in browser.text("#conversation"))

    # Errors are the API's own, and the question comes back to its field.
    settings(browser, temperature="9")
    say(browser, "Hello")
    ends(browser, "The answer failed.")
    error = json.loads(post(server.url + "/v1/chat/completions", {
        "messages": [{"role": "user", "content": "Hello"}], "temperature": 9}))["error"]
    shown = browser.text("#conversation [role=alert]")
    check((shown, error), shown.startswith("400") and error["message"] in shown)
    check("the text is kept", browser.js(
        "return document.querySelector('#chat-input').value") == "Hello")

    # Escape stops, here and in the engine.
    settings(browser, temperature="", tokens="1900")
    browser.click("#chat-clear")
    say(browser, "Tell me a very long story.")
    browser.wait("the answer begins", f"({ANSWER} ?? '').length > 20")
    if browser.js("return !document.querySelector('#chat-stop').disabled"):
        browser.press("Escape")
        browser.wait("it ends", f"/^(Stopped|Complete)/.test({STATUS})")
    limit = time.monotonic() + 10
    while series(server.url, "generations")[""] > 0:
        check("the engine stops too", time.monotonic() < limit)
    browser.click("#chat-clear")
    settings(browser, tokens="512")


def stop(browser, front):
    """The button; the text so far stays. The stream does not end by itself."""
    front.answers["/v1/chat/completions"] = lambda handler, _: front.stream(
        handler, [{"choices": [{"delta": {"content": "So far "}}]}, 30.0])
    say(browser, "Hello")
    browser.wait("the answer begins", f"{ANSWER} === 'So far '")
    check("busy", browser.js(
        "return document.querySelector('#conversation').ariaBusy") == "true")
    browser.click("#chat-stop")
    ends(browser, "Stopped.")
    check("the text stays", "So far" in browser.text("#conversation"))
    # A text that was sent by the button is stopped by the keyboard.
    browser.js("const field = document.querySelector('#chat-input'); field.value = 'Hello';")
    browser.click("#chat-send")
    browser.wait("it is under way", "document.querySelector('#conversation').ariaBusy === 'true'")
    browser.press("Escape")
    ends(browser, "Stopped.")
    check("the focus is in the field",
          browser.js("return document.activeElement.id") == "chat-input")
    browser.click("#chat-clear")


def thoughts(browser, front):
    """Thoughts apart; markup in a text is text; an error amid a stream is shown beside its text."""
    evil = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>"
    bodies = []

    def answer(handler, body):
        bodies.append(json.loads(body))
        front.stream(handler, [
            {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
            {"choices": [{"delta": {"reasoning_content": "I think. " + evil}}]},
            {"choices": [{"delta": {"content": "I say. " + evil}}]},
            {"choices": [{"delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"completion_tokens": 2}}, "[DONE]"])

    front.answers["/v1/chat/completions"] = answer
    settings(browser, system="Be brief.")
    say(browser, "Hello")
    ends(browser, "Complete. 2 tokens")
    check("the thought", browser.text("#conversation .thought") == "I think. " + evil)
    check("the answer", browser.js(f"return {ANSWER}") == "I say. " + evil)
    check("no markup", browser.js(
        "return !window.hacked && !document.querySelector('main img, main script')"))
    browser.picture("chat-thought")
    say(browser, "Again")
    browser.wait("a second answer", "document.querySelectorAll('.thought').length === 2")
    ends(browser, "Complete.")
    check(bodies[1], [message["role"] for message in bodies[1]["messages"]]
          == ["system", "user", "assistant", "user"])
    check(bodies[1], bodies[1]["messages"][2]["content"] == "I say. " + evil)
    front.answers["/v1/chat/completions"] = lambda handler, _: front.stream(handler, [
        {"choices": [{"delta": {"content": "Half a "}}]},
        {"error": {"message": "rank 1 left", "type": "server_error", "code": "unavailable"}}])
    browser.click("#chat-clear")
    say(browser, "Hello")
    ends(browser, "The answer failed.")
    check("both", "Half a" in browser.text("#conversation")
          and "(unavailable): rank 1 left" in browser.text("#conversation [role=alert]"))
    front.answers["/v1/chat/completions"] = lambda handler, _: front.stream(
        handler, [{"choices": [{"delta": {"content": "Half a "}}]}])
    say(browser, "Hello")
    browser.wait("a cut stream is no answer",
                 "document.querySelector('#conversation').innerText"
                 ".includes('The stream ended before the answer did.')")
    del front.answers["/v1/chat/completions"]
    browser.click("#chat-clear")


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


def quantile(url, name, q):
    """A quantile by Prometheus' rule, written down a second time."""
    counts = [(float(bound), count) for bound, count in (
        (re.search(r'le="([^"]+)"', labels)[1], count)
        for labels, count in series(url, name + "_bucket").items())]
    wanted, low, below = q * counts[-1][1], 0.0, 0.0
    for bound, count in counts:
        if count >= wanted:
            return low + (bound - low) * (wanted - below) / (count - below)
        low, below = bound, count
    raise AssertionError("a histogram ends with +Inf")


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


def looks(browser, name):
    """Every view, light and dark, wide and narrow: looked at by people, held to a few facts."""
    for scheme in ("light", "dark"):
        for width in (1100, 360):
            browser.look(scheme, width)
            for view in VIEWS:
                browser.js("location.hash = '#/' + arguments[0]", view)
                browser.wait(view, f"!document.querySelector('#{view}').hidden")
                time.sleep(0.3)
                wide = browser.js("return document.documentElement.scrollWidth")
                check(f"{view} is {wide} wide on {width}", wide <= width)
                faint = browser.js(CONTRAST)
                check(f"{view}, {scheme}: {faint}", not faint)
                height = browser.js("return document.documentElement.scrollHeight")
                browser.look(scheme, width, max(700, min(height, 3000)))
                browser.picture(f"{name}-{view}-{scheme}-{width}")
                browser.look(scheme, width)
    browser.look()


# Texts whose contrast with what is behind them is below WCAG's 4.5.
CONTRAST = """
const channels = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (text) => channels(text).slice(0, 3).map((value) => value / 255).map(
  (value) => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4).reduce(
  (sum, value, index) => sum + value * [.2126, .7152, .0722][index], 0);
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (channels(colour)[3] !== 0) return colour;
  }
};
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some(
    (child) => child.nodeType === 3 && child.textContent.trim());
  if (!own || !node.checkVisibility() || node.disabled || node.closest("svg")) continue;
  const pair = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => a - b);
  const ratio = (pair[1] + .05) / (pair[0] + .05);
  if (ratio < 4.5) found.push([node.tagName, node.textContent.slice(0, 30), ratio]);
}
return found;
"""


def polling(browser, front):
    """One request at a time, and none while nobody sees the page."""
    busy, most, count = [0], [0], [0]

    def slow(handler, _):
        busy[0] += 1
        count[0] += 1
        most[0] = max(most[0], busy[0])
        time.sleep(2)
        busy[0] -= 1
        front.send(handler, 200, read(front.behind + "/metrics").encode())

    front.answers["/metrics"] = slow
    time.sleep(5)
    for _ in range(3):
        browser.js("document.dispatchEvent(new Event('visibilitychange'))")
    time.sleep(3)
    check(most, most == [1] and count[0] >= 2)
    del front.answers["/metrics"]
    browser.js("Object.defineProperty(document, 'hidden', {get: () => window.isAway ?? false,"
               "configurable: true}); window.isAway = true;")
    time.sleep(3)
    count[0] = 0
    front.answers["/metrics"] = slow
    time.sleep(3)
    check(("while hidden", count), count == [0])
    del front.answers["/metrics"]
    browser.js("window.isAway = false; document.dispatchEvent(new Event('visibilitychange'))")


def lost_server(browser, front):
    """A server that does not answer is said, and so is one that does again."""
    def cut(handler, _):
        handler.connection.close()

    front.answers["/metrics"] = cut
    word = "document.querySelector('#state-word').textContent"
    browser.wait("the silence is said", f"{word} === 'no answer from the server'")
    del front.answers["/metrics"]
    browser.wait("the answer is seen", f"{word} === 'ready'")


def key(browser, server):
    browser.open(server.url + "/")
    browser.wait("the key is asked for", "document.querySelector('#key-dialog').open")
    check("the focus is in the dialog",
          browser.js("return document.activeElement.id") == "key-input")
    check(browser.label("#key-input"), browser.label("#key-input")[1] == "Key")
    browser.picture("key")
    browser.press(*"wrong", "Enter")
    browser.wait("a wrong key is refused", "document.querySelector('#key-dialog').open && "
                 "document.querySelector('#key-reason').textContent.includes('refused the key')")
    browser.press("Escape")
    browser.wait("the page says what is missing",
                 "document.querySelector('#state-word').textContent === 'needs an API key'")
    time.sleep(3)
    check("nobody asks again by themselves",
          browser.js("return !document.querySelector('#key-dialog').open"))
    browser.click("#key-open")
    browser.write("#key-input", "secret")
    browser.press("Enter")
    browser.wait("the server is seen",
                 "document.querySelector('#state-word').textContent === 'ready'")
    say(browser, "Tell me a story about rain.")
    ends(browser, "Complete.")
    check("kept in this tab alone", browser.js(
        "return sessionStorage.length === 1 && localStorage.length === 0 && !document.cookie"
        " && !location.href.includes('secret')"))


def completions(browser, server):
    browser.open(server.url + "/")
    browser.wait("the page says why", "document.querySelector('#chat-note').textContent"
                 ".includes('no form of chats')")
    check("the field says what it takes", browser.label("#chat-input")[1] == "Text to complete")
    settings(browser, temperature="0", tokens="8")
    say(browser, "Once upon a time")
    ends(browser, "Complete. 8 tokens")
    wanted = json.loads(post(server.url + "/v1/completions", {
        "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}))["choices"][0]["text"]
    check(wanted, browser.js(f"return {ANSWER}") == "Once upon a time" + wanted)


def lost_rank(browser, server):
    """A job with a coordinator: loads of experts, then a rank that is killed."""
    browser.open(server.url + "/")
    show(browser, "experts")
    browser.wait("loads are shown",
                 "document.querySelectorAll('#experts-table tbody tr').length === 3")
    ratios = [number(row[2]) for row in table(browser, "experts-table")]
    check(ratios, abs(sum(ratios) / 3 - 1) < 0.05)
    wanted = max(series(server.url, "expert_imbalance").values())
    check(browser.text("#experts-summary"),
          abs(number(browser.text("#experts-summary")) - wanted) < 0.1)
    check("the next step", "apus placement what-if" in browser.text("#experts"))
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
    looks(browser, "job")


def walk(folder, work):
    browser = Browser(folder)
    servers = []

    def started(server):
        servers.append(server)
        return server

    def step(title, act, *arguments):
        print(f"== {title}", flush=True)
        act(browser, *arguments)

    try:
        browser.look()
        server = started(serve(work, "serve", "--ranks", "2"))
        step("the page begins", at_start, server)
        step("keys", keyboard)
        step("chat", chat, server)
        load = started(Load(server.url))
        step("cluster", cluster, server, 2)
        step("rates", rates, server)
        step("all-to-all", exchange)
        step("looks", looks, "serve")
        load.close()
        step("requests", requests, server)
        step("experts of a server without counts", experts_of_serve)
        noise = [line for line in browser.complaints() if "status of 400" not in line]
        check(noise, not noise)
        front = started(Front(server.url))
        browser.open(front.url + "/")
        step("stop", stop, front)
        step("thoughts and hostile texts", thoughts, front)
        step("polling", polling, front)
        step("a server that is silent", lost_server, front)
        step("a key", key, started(serve(work, "key", "--key", "secret")))
        step("a model without chats", completions,
             started(serve(work, "plain", model=model_without_chats(work))))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        many = started(job(work, port))
        started(Load(many.url))
        step("a job that loses a rank", lost_rank, many)
        own = tuple(server.url for server in servers if hasattr(server, "url"))
        foreign = [url for url in browser.requests()
                   if not url.startswith(own + ("data:",))]
        check(foreign, not foreign)
    except BaseException:
        browser.picture("failure")
        raise
    finally:
        for server in reversed(servers):
            server.close()
        browser.close()


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        walk(target, pathlib.Path(temporary))
    print(f"the page does what it says; screenshots are in {target}")
