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

#: The code points of keys that produce no character.
KEYS = {"Tab": "\ue004", "Enter": "\ue007"}
#: Whether all buttons of the console accept clicks: one that has just appeared or moved accepts none.
SETTLED = "return !document.querySelector('[data-moved], button:disabled')"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def missing() -> str | None:
    """What is not installed; None if everything is."""
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
        self.until(SETTLED)
        self._do("POST", f"/element/{found[ELEMENT]}/click")

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is: characters, or names in `KEYS`."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def focused(self) -> str:
        """The text, or else the accessible name, of the focused element."""
        return str(self.run("const at = document.activeElement; return at.innerText || at.ariaLabel || at.id"))

    def show_as(self, width: int, height: int = 800, *, dark: bool = False) -> None:
        """Set the window to the width of a device in CSS pixels, and to the light or dark scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", {"features": [scheme]})

    def before_each_page(self, script: str) -> None:
        """Run a script in each page opened from now on, before the page's own."""
        self.command("Page.addScriptToEvaluateOnNewDocument", {"source": script})

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        """A command of the DevTools protocol."""
        return self._do("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def until(self, script: str) -> Any:
        """What a script returns, once that is truthy."""
        deadline = time.monotonic() + 15
        while not (found := self.run(script)):
            assert time.monotonic() < deadline, f"{script!r} did not become true; the page shows: {self.text()}"
            time.sleep(0.05)
        return found

    def wait_for(self, part: str) -> str:
        """The page's text once it holds `part`."""
        deadline = time.monotonic() + 15
        while part not in (shown := self.text()):
            assert time.monotonic() < deadline, f"{part!r} did not come; the page shows: {shown}"
            time.sleep(0.05)
        return shown

    def screenshot(self) -> bytes:
        """The window's content as a PNG."""
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
