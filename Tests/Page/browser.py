"""Headless Chromium through chromedriver's HTTP interface (W3C WebDriver), with Python alone."""

import base64
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request

KEYS = {
    "Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "Shift": "\ue008", "End": "\ue010",
    "Home": "\ue011", "Left": "\ue012", "Right": "\ue014",
}
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
# Of every wait: on two busy cores a first paint took 3 s.
PATIENCE = 20


class Browser:
    """One window. Its folder gets the screenshots."""

    def __init__(self, folder):
        self.folder = folder
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True)
        for line in self.driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                break
        else:
            raise RuntimeError("chromedriver ended before it listened")
        self.base = f"http://127.0.0.1:{found[1]}"
        arguments = ["--headless=new", "--disable-gpu", "--force-device-scale-factor=1",
                     # Whatever is not this machine has no address.
                     "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        if os.getuid() == 0:
            arguments.append("--no-sandbox")
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"args": arguments}}}})
        self.base += f"/session/{session['sessionId']}"

    def close(self):
        try:
            self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(PATIENCE)

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            self.base + path, method=method,
            data=None if method in ("GET", "DELETE") else json.dumps(body or {}).encode(),
            headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.read().decode()[:600]}") from error

    def tool(self, name, **parameters):
        """A command of the DevTools protocol."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def appearance(self, scheme="light", width=1100, height=850):
        """The size of the window, and which colours its reader prefers."""
        self.tool("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.tool("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)

    def js(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, fact, script, *arguments, seconds=PATIENCE):
        """The first true value of an expression; a fact that stays untrue fails."""
        limit = time.monotonic() + seconds
        while True:
            value = self.js(f"return {script}", *arguments)
            if value:
                return value
            if time.monotonic() > limit:
                raise AssertionError(f"{fact}: not within {seconds} s ({script}); the page says: "
                                     + self.js("return document.body.innerText")[:1500])
            time.sleep(0.05)

    def find(self, selector):
        return self.call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.call("POST", f"/element/{self.find(selector)}/click")

    def write(self, selector, text):
        """Replaces what a field holds."""
        element = self.find(selector)
        self.call("POST", f"/element/{element}/clear")
        self.call("POST", f"/element/{element}/value", {"text": text})

    def text(self, selector):
        return self.call("GET", f"/element/{self.find(selector)}/text")

    def label(self, selector):
        """Role and name, as a screen reader has them."""
        element = self.find(selector)
        return (self.call("GET", f"/element/{element}/computedrole"),
                self.call("GET", f"/element/{element}/computedlabel"))

    def press(self, *keys):
        """Presses keys where the focus is, one after the other: `Shift+Tab`, `Enter`, `a`."""
        actions = []
        for key in keys:
            parts = [KEYS.get(part, part) for part in key.split("+")] if len(key) > 1 else [key]
            actions += [{"type": "keyDown", "value": part} for part in parts]
            actions += [{"type": "keyUp", "value": part} for part in reversed(parts)]
        self.call("POST", "/actions", {
            "actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def picture(self, name):
        data = base64.b64decode(self.call("GET", "/screenshot"))
        assert data.startswith(b"\x89PNG") and len(data) > 4000, f"{name} is no picture"
        with open(os.path.join(self.folder, f"{name}.png"), "wb") as file:
            file.write(data)

    def complaints(self):
        """What the console has of errors since the last call."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})
                if entry["level"] == "SEVERE"]

    def requests(self):
        """Addresses that the page asked for since the last call."""
        events = [json.loads(entry["message"])["message"]
                  for entry in self.call("POST", "/se/log", {"type": "performance"})]
        return [event["params"]["request"]["url"] for event in events
                if event["method"] == "Network.requestWillBeSent"]
