"""The page in headless Chromium, view by view, against real servers.

Usage: walk.py FOLDER    (screenshots and logs go there)
"""

import pathlib
import socket
import sys
import tempfile

from appearance import VIEWS, keyboard, lost_server, polling, views
from browser import Browser
from chat_views import chat, completions, key, stop, thoughts
from checks import check
from number_views import cluster, exchange, experts_of_serve, lost_rank, rates, requests
from servers import Front, Load, job, model_without_chats, serve
from traffic_views import doctor, doctor_of_serve, traffic


def at_start(browser, server):
    browser.open(server.url + "/")
    browser.wait("the model is named",
                 "document.querySelector('#model').textContent.includes('stories-fp8')")
    browser.wait("the server's state is said",
                 "document.querySelector('#state-word').textContent === 'ready'")
    roles = [browser.label(f"#tab-{view}") for view in VIEWS]
    check(roles, [role for role, _ in roles] == ["tab"] * len(VIEWS))
    for selector, role, name in [
        ("#tabs", "tablist", "Views"), ("#chat", "tabpanel", "Chat"),
        ("#conversation", "log", "Conversation"), ("#chat-input", "textbox", "Message"),
        ("#chat-send", "button", "Send"), ("#key-open", "button", "API key"),
    ]:
        check((selector, browser.label(selector)), browser.label(selector) == (role, name))


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
        browser.appearance()
        server = started(serve(work, "serve", "--ranks", "2"))
        step("the page begins", at_start, server)
        step("keys", keyboard)
        step("chat", chat, server)
        load = started(Load(server.url))
        step("cluster", cluster, server, 2)
        step("rates", rates, server)
        step("all-to-all", exchange)
        step("traffic", traffic, server, 2)
        step("views", views, "serve")
        load.close()
        step("requests", requests, server)
        step("experts of a server without counts", experts_of_serve)
        step("no report of the doctor", doctor_of_serve)
        # A chat that is refused, and the report that is not there.
        noise = [line for line in browser.complaints()
                 if not any(f"status of {status}" in line for status in (400, 404))]
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
        browser.open(many.url + "/")
        step("traffic of a job", traffic, many, 3)
        step("the doctor's report", doctor, many)
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
