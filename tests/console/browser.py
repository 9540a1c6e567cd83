"""A headless Chromium, driven over WebDriver's plain HTTP."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def missing() -> str | None:
    """What is not installed; None where all is there."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)} (apt-get install chromium chromium-driver)" if absent else None


class Browser:
    """One browser window."""

    def __init__(self, http: httpx.Client, session: str) -> None:
        self._http, self._base = http, f"/session/{session}"

    def _do(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, self._base + path, json={} if body is None and method == "POST" else body)
        answer.raise_for_status()
        return answer.json()["value"]

    def open(self, url: str) -> None:
        self._do("POST", "/url", {"url": url})

    def text(self) -> str:
        """What the page shows."""
        return str(self.run("return document.body.innerText"))

    def run(self, script: str) -> Any:
        return self._do("POST", "/execute/sync", {"script": script, "args": []})

    def click(self, selector: str) -> None:
        found = self._do("POST", "/element", {"using": "css selector", "value": selector})
        self._do("POST", f"/element/{found[ELEMENT]}/click")

    def wait_for(self, part: str) -> str:
        """The page's text once it holds `part`."""
        deadline = time.monotonic() + 15
        while part not in (shown := self.text()):
            assert time.monotonic() < deadline, f"{part!r} did not come; the page shows: {shown}"
            time.sleep(0.05)
        return shown

    def fit(self) -> None:
        """Make the window as high as its page."""
        more = self.run("return document.documentElement.offsetHeight - innerHeight")
        rect = self._do("GET", "/window/rect")
        self._do("POST", "/window/rect", {"width": rect["width"], "height": rect["height"] + more})

    def screenshot(self) -> bytes:
        """The window's content, in PNG."""
        return base64.b64decode(self._do("GET", "/screenshot"))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A window of a browser whose data stays in `profile`."""
    with subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            port = next(found[1] for line in driver.stdout if (found := re.search(r"on port (\d+)\.", line)))
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
                arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
                arguments += ["--window-size=800,860", f"--user-data-dir={profile}", "--disable-background-networking"]
                wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}}
                answer = http.post("/session", json={"capabilities": wanted}).raise_for_status().json()
                session = answer["value"]["sessionId"]
                try:
                    yield Browser(http, session)
                finally:
                    http.delete(f"/session/{session}")
        finally:
            driver.terminate()
