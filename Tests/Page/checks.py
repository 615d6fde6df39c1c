"""What every view of the page is asked: facts, its fields and tables, the server's own numbers."""

import json
import re

from servers import read

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
