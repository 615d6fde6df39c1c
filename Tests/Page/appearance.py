"""How the page looks and how it asks: sizes, contrast, polling, a silent server."""

import time

from checks import check
from servers import read

VIEWS = ["chat", "cluster", "experts", "exchange", "traffic", "requests", "doctor"]


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
    check(browser.js(focus), browser.js(focus) == "tab-doctor")
    browser.press("Home", "Tab")
    check("the panel follows its tab", browser.js(focus) == "conversation")
    browser.press("Tab")
    check(browser.js(focus), browser.js(focus) == "chat-input")


def views(browser, name):
    """Every view, light and dark, wide and narrow: viewed by people, held to a few facts."""
    for scheme in ("light", "dark"):
        for width in (1100, 360):
            browser.appearance(scheme, width)
            for view in VIEWS:
                browser.js("location.hash = '#/' + arguments[0]", view)
                browser.wait(view, f"!document.querySelector('#{view}').hidden")
                time.sleep(0.3)
                wide = browser.js("return document.documentElement.scrollWidth")
                check(f"{view} is {wide} wide on {width}", wide <= width)
                faint = browser.js(CONTRAST)
                check(f"{view}, {scheme}: {faint}", not faint)
                height = browser.js("return document.documentElement.scrollHeight")
                browser.appearance(scheme, width, max(700, min(height, 3000)))
                browser.picture(f"{name}-{view}-{scheme}-{width}")
                browser.appearance(scheme, width)
    browser.appearance()


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
