"""A headless Chromium driven over its DevTools pipe, without a driver program or a package.

    python tests/chromium.py report.html docs/report
    python tests/chromium.py report.html docs/report 1250

The first writes docs/report-1400-light.png, -1400-dark, -390-light and -390-dark; the second the
upper 1250 pixels of them.
"""

import base64
import contextlib
import json
import math
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

QUIET = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
]


def find() -> str | None:
    """The browser's program, or None."""
    return next(
        (
            path
            for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
            if (path := shutil.which(name))
        ),
        None,
    )


class Chromium(contextlib.AbstractContextManager):
    """One browser with one page.

    `messages` holds what the console said, `requests` the addresses the page asked for.
    """

    def __init__(self, wait_s: float = 60):
        self.wait_s, self.messages, self.requests, self.events, self.number, self.buffer = (
            wait_s,
            [],
            [],
            [],
            0,
            b"",
        )
        self.profile = tempfile.mkdtemp(prefix="chromium-")
        ours, theirs = (
            os.pipe(),
            os.pipe(),
        )  # the browser reads commands from 3 and writes answers to 4

        def place():
            command, answer = os.dup(ours[0]), os.dup(theirs[1])
            os.dup2(command, 3)
            os.dup2(answer, 4)

        command = [find(), *QUIET, f"--user-data-dir={self.profile}", "about:blank"]
        self.process = subprocess.Popen(
            command,
            preexec_fn=place,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self.write_to, self.read_from, self.session = ours[1], theirs[0], None
        try:
            target = self.send("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
                "sessionId"
            ]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.send(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.session = None
            self.send("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.write_to)
        os.close(self.read_from)
        shutil.rmtree(self.profile, ignore_errors=True)

    def send(self, method: str, **parameters) -> dict:
        """One DevTools command; its result, or RuntimeError with the browser's words."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_to, json.dumps(message).encode() + b"\0")
        number = self.number
        answer = self._wait(lambda item: item.get("id") == number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _wait(self, wanted):
        deadline = time.monotonic() + self.wait_s
        while True:
            while b"\0" in self.buffer:
                raw, _, self.buffer = self.buffer.partition(b"\0")
                item = json.loads(raw)
                self._note(item.get("method"), item.get("params", {}))
                if wanted(item):
                    return item
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.read_from], [], [], left)[0]:
                raise TimeoutError(f"the browser did not answer within {self.wait_s:g} s")
            chunk = os.read(self.read_from, 1 << 20)
            if not chunk:
                raise RuntimeError("the browser closed")
            self.buffer += chunk

    def _note(self, method, parameters):
        if method == "Runtime.exceptionThrown":
            self.messages.append(
                parameters["exceptionDetails"].get("exception", {}).get("description", "exception")
            )
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in (
            "error",
            "warning",
            "assert",
        ):
            self.messages.append(
                " ".join(
                    str(item.get("value", item.get("description"))) for item in parameters["args"]
                )
            )
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.messages.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.messages.append("dialog: " + parameters["message"])

    def open(self, place: Path | str, width: int = 1400, dark: bool = False) -> None:
        """Open a file or an address as a screen that wide [CSS pixels] shows it, and wait until it
        has loaded."""
        self.messages.clear()
        self.requests.clear()
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=scheme)
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        url = place if isinstance(place, str) else place.resolve().as_uri()
        self.send("Page.navigate", url=url)
        self._wait(lambda item: item.get("method") == "Page.loadEventFired")

    def run(self, script: str):
        """The value of a JavaScript expression, a promise's when it settles."""
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(
                answer["exceptionDetails"].get("exception", {}).get("description", "exception")
            )
        return answer["result"].get("value")

    def hover(self, x: float, y: float) -> None:
        """Move the mouse to a place of the page [CSS pixels]."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path: Path, height: float = math.inf) -> None:
        """Save the page, or its upper part, as a PNG."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": min(height, size["height"]),
            "scale": 1,
        }
        options = {"clip": clip, "captureBeyondViewport": True}
        Path(path).write_bytes(
            base64.b64decode(self.send("Page.captureScreenshot", format="png", **options)["data"])
        )


def main(page: str, stem: str, height: str = "inf") -> int:
    with Chromium() as browser:
        for width in (1400, 390):
            for scheme in ("light", "dark"):
                browser.open(Path(page), width, scheme == "dark")
                browser.run("document.drawn")
                browser.screenshot(Path(f"{stem}-{width}-{scheme}.png"), float(height))
                print(f"{stem}-{width}-{scheme}.png", *browser.messages)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
