"""A headless Chromium for the tests, driven as a person would: real mouse, keyboard and touch.

It speaks the DevTools protocol through a pipe: JSON, each message ended by a zero byte.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--headless=new --no-sandbox --disable-gpu --remote-debugging-pipe"
SECONDS = 60


class Browser:
    def __init__(self, profile: Path) -> None:
        import fcntl   # Windows has none
        orders, self.orders = os.pipe()
        self.answers, answers = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (orders, answers)]
        start = f'exec "$0" {FLAGS} --user-data-dir="$1" 3<&{ends[0]} 4>&{ends[1]}'   # reads 3, writes 4
        self.process = subprocess.Popen(["bash", "-c", start, PROGRAM, profile], pass_fds=ends,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for end in (orders, answers, *ends):
            os.close(end)
        self.rest, self.number, self.session = b"", 0, {}
        self.complaints: list[str] = []    # errors and whatever else the console shows
        self.addresses: list[str] = []     # what the page asked for
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.session = {"sessionId": session}
        for domain in ("Page", "Runtime", "Log", "DOM", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        os.close(self.orders)    # Chromium ends with its pipe
        self.process.wait(SECONDS)
        os.close(self.answers)

    def message(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            if not select.select([self.answers], [], [], SECONDS)[0]:
                raise TimeoutError("the browser does not answer")
            if not (more := os.read(self.answers, 2 ** 20)):
                raise ConnectionError("the browser has ended")
            self.rest += more
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        order = {"id": self.number, "method": method, "params": params, **self.session}
        os.write(self.orders, json.dumps(order).encode() + b"\0")
        while (answer := self.message()).get("id") != self.number:
            event = answer.get("method", "")
            if event in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                self.complaints.append(json.dumps(answer["params"]))
            if event == "Network.requestWillBeSent":
                self.addresses.append(answer["params"]["request"]["url"])
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def open(self, path: Path, width: int = 1280, ready: str = "true") -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
                  mobile=False)
        self.call("Page.navigate", url=path.as_uri())
        self.until(f"document.readyState === 'complete' && {ready}")

    def until(self, condition: str) -> None:
        end = time.monotonic() + SECONDS
        while not self.run(condition):
            if time.monotonic() > end:
                raise TimeoutError(condition)
            time.sleep(0.05)

    def settle(self) -> None:
        """The page has drawn what was last done."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def text(self, selector: str) -> str:
        return self.run(f"document.querySelector({json.dumps(selector)}).textContent")

    def place(self, selector: str, x: float = 0.5, y: float = 0.5) -> dict[str, float]:
        """Where a share of an element's width and height is; the page scrolls there."""
        left, top, width, height = self.run(f"""(() => {{
            const shown = document.querySelector({json.dumps(selector)});
            shown.scrollIntoView({{block: "center", behavior: "instant"}});
            const box = shown.getBoundingClientRect();
            return [box.left, box.top, box.width, box.height]; }})()""")
        return {"x": left + x * width, "y": top + y * height}

    def press(self, selector: str, *path: tuple[float, float]) -> None:
        """The mouse goes down, along the path, and up again; without a path a click in the middle."""
        points = [self.place(selector, x, y) for x, y in path or [(0.5, 0.5)]]
        for kind, point in [("mousePressed", points[0]), *(("mouseMoved", point) for point in points[1:]),
                            ("mouseReleased", points[-1])]:
            self.call("Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1, **point)
        self.settle()

    def touch(self, selector: str, *path: tuple[float, float]) -> None:
        points = [self.place(selector, x, y) for x, y in path]
        for kind, touched in [("touchStart", points[:1]), *(("touchMove", [point]) for point in points[1:]),
                              ("touchEnd", [])]:
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=touched)
        self.settle()

    def key(self, selector: str, *names: str) -> None:
        """Arrow keys for an element."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        for name in names:
            pressed = {"key": name, "code": name, "windowsVirtualKeyCode": codes[name]}
            self.call("Input.dispatchKeyEvent", type="keyDown", **pressed)
            self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)
        self.settle()

    def choose_file(self, selector: str, path: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])
