"""serve.py in a process of its own, for tests and pictures."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx

ROOT = Path(__file__).resolve().parent.parent
START_S = 120


class Served(contextlib.AbstractContextManager):
    """The server of a configuration with `port = 0`; `url`, `token` and a `client` that has it."""

    def __init__(self, config: Path):
        self.config, self.log = config, config.with_name("serve.log")
        command = [sys.executable, str(ROOT / "serve.py"), "--config", str(config)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=config.parent
            )
        try:
            self.url = self.process.stdout.readline().strip().rstrip("/")
            assert urlsplit(self.url).port, self.log.read_text()
            shown = subprocess.run([*command, "--show-token"], capture_output=True, text=True)
            self.token = shown.stdout.strip()
            self.client = self.new_client()
            self._wait()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def new_client(self, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def _wait(self) -> None:
        until = time.monotonic() + START_S
        while True:
            try:
                assert self.client.get("/health").json() == {"status": "ok"}
                return
            except httpx.ConnectError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < until
                time.sleep(0.05)

    def open(self, browser, width: int = 1400, dark: bool = False) -> None:
        """The page in a browser, as the link with the token opens it, until all of it is there.

        A figure is drawn when the browser has laid it out, so two frames after all was read."""
        browser.run("window.isLeft = true")  # a late event of the page before is not the new one's
        browser.open(f"{self.url}/?token={self.token}", width, dark)
        browser.run(
            "new Promise((done) => { const look = () => document.loaded && !window.isLeft ? "
            "document.loaded.then(() => requestAnimationFrame(() => requestAnimationFrame(done))) "
            ": setTimeout(look, 20); look(); })"
        )

    def __exit__(self, *_):
        self.client.close()
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.stdout.close()
