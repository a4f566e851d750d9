"""A person with a phone and a keyboard: Chromium without a screen, steered over the DevTools protocol.

`browser.py PORT CODE PICTURES` goes to some site, wherever it is sent from there, and logs in with a voucher by
keys alone, in a window of a phone's width. Every name leads to 127.0.0.1 at the port, so nothing else is
reached. Writes `login.png`, `wrong.png` and `online.png` to the directory, and prints a line of JSON with what
an assertion wants to know.
"""
import base64
import json
import os
import subprocess
import sys
import tempfile

port, code, pictures = sys.argv[1:]
WIDTH = 360
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--disable-features=OptimizationHints,MediaRouter", "--remote-debugging-pipe", "--lang=en",
    f"--host-resolver-rules=MAP * 127.0.0.1:{port}",
]


class Browser:
    """The protocol over two pipes: messages of JSON, each with a zero byte behind it."""

    def __init__(self, home):
        # The browser reads its descriptor 3 and writes its descriptor 4.
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def place():
            os.dup2(theirs_in, 30)
            os.dup2(theirs_out, 31)
            os.dup2(30, 3)
            os.dup2(31, 4)

        self.process = subprocess.Popen(
            ["chromium", *FLAGS, f"--user-data-dir={home}", "about:blank"],
            close_fds=False, preexec_fn=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.reader, self.out, self.rest, self.number, self.session = ours_in, ours_out, b"", 0, None

    def message(self):
        while b"\0" not in self.rest:
            read = os.read(self.reader, 65536)
            if not read:
                raise EOFError("the browser ended")
            self.rest += read
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, until=None, **params):
        """Calls, and waits for the answer; and for an event, where one is to follow."""
        self.number += 1
        order = {"id": self.number, "method": method, "params": params}
        if self.session:
            order["sessionId"] = self.session
        os.write(self.out, json.dumps(order).encode() + b"\0")
        result = None
        while result is None or until:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    raise OSError(f"{method}: {message['error']}")
                result = message["result"]
            if message.get("method") == until:
                until = None
        return result

    def evaluate(self, script):
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def key(self, name, number, text="", until=None):
        common = {"key": name, "code": name, "windowsVirtualKeyCode": number}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, until=until, **common)
        if not until:
            self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self, name):
        shot = self.call("Page.captureScreenshot", format="png")["data"]
        with open(os.path.join(pictures, name), "wb") as file:
            file.write(base64.b64decode(shot))


def log_in(browser, code):
    """Tabs to the field, types, and presses Enter on the button; how often Tab was pressed."""
    tabs = 0
    while browser.evaluate("document.activeElement.id") != "code" and tabs < 20:
        browser.key("Tab", 9)
        tabs += 1
    browser.call("Input.insertText", text=code)
    browser.key("Tab", 9)
    outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    is_button = browser.evaluate("document.activeElement.tagName") == "BUTTON"
    browser.key("Enter", 13, text="\r", until="Page.loadEventFired")
    return {"tabs": tabs, "focus": outline, "button": is_button}


def look(browser):
    fields = [node for node in browser.call("Accessibility.getFullAXTree")["nodes"]
              if node.get("role", {}).get("value") == "textbox"]
    return {
        "address": browser.evaluate("location.href"),
        "overflow": browser.evaluate("document.documentElement.scrollWidth") - WIDTH,
        "language": browser.evaluate("document.documentElement.lang"),
        "unnamed": sum(1 for field in fields if not field.get("name", {}).get("value")),
        "alert": browser.evaluate("document.querySelector('[role=alert]')?.innerText ?? ''"),
        "smallest": browser.evaluate(
            "Math.min(...[...document.querySelectorAll('button')].map(b => b.getBoundingClientRect().height))"),
        "text": browser.evaluate("document.body.innerText"),
    }


with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
    browser = Browser(home)
    try:
        target = next(t for t in browser.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = browser.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        browser.session = attached["sessionId"]
        browser.call("Page.enable")
        browser.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=740, deviceScaleFactor=1, mobile=True)
        browser.call("Page.navigate", url="http://www.example/", until="Page.loadEventFired")
        told = {"login": look(browser)}
        browser.picture("login.png")
        told["mistyped"] = log_in(browser, "00000-00000")
        told["wrong"] = look(browser)
        browser.picture("wrong.png")
        told["typed"] = log_in(browser, code)
        told["online"] = look(browser)
        browser.picture("online.png")
        print(json.dumps(told))
    finally:
        browser.process.kill()
        browser.process.wait()
