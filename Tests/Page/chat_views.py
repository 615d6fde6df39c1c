"""Chats: answers, errors, stopping, thoughts, keys and models without a form of chats."""

import json
import time

from checks import ANSWER, STATUS, check, ends, say, series, settings
from servers import post


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
