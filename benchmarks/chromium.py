"""A headless Chromium, driven through its DevTools protocol: nothing but the browser itself is needed."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """Return the browser's file, or None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium(profile: Path, *flags: str) -> Iterator["Page"]:
    """Start a browser, give its one page, and end it.

    Args:
        profile: an empty folder for all that it writes.
        flags: added to `FLAGS`.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags = (*flags, "--no-sandbox")  # which root cannot have
    command = [find_chromium() or NAMES[0], *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"]
    with (
        (profile / "log.txt").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            with urlopen(f"http://127.0.0.1:{_port(profile)}/json/list") as answer:
                page = next(target for target in json.load(answer) if target["type"] == "page")
            with connect(page["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()


def _port(profile: Path) -> int:
    """Return where the browser listens, which it writes down once it does."""
    for _ in range(600):
        with suppress(FileNotFoundError, IndexError):
            return int((profile / "DevToolsActivePort").read_text().splitlines()[0])
        time.sleep(0.1)
    raise TimeoutError(f"Chromium did not start: {(profile / 'log.txt').read_text()}")


class Page:
    """A page in the browser.

    Attributes:
        events: what the browser reported, in the protocol's words, since this was emptied last.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number = socket, 0
        self.events: list[dict] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict:
        """Call a method of the protocol, and keep the events that come before its answer."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while (message := json.loads(self._socket.recv(timeout=60))).get("id") != self._number:
            self.events.append(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def js(self, expression: str) -> Any:
        """Return an expression's value in the page; of a promise, what it becomes."""
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60) -> Any:
        """Return an expression's value as soon as it is true."""
        end = time.monotonic() + seconds
        while not (value := self.js(expression)):
            if time.monotonic() > end:
                raise TimeoutError(
                    f"still not true: {expression}; the page says {self.js('document.body.innerText')}"
                )
            time.sleep(0.05)
        return value

    def press(self, key: str) -> None:
        """Press and release a key, such as Tab or Enter."""
        code = {"Tab": 9, "Enter": 13, " ": 32}[key]
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, text=text)

    def hover(self, selector: str) -> None:
        """Move the pointer to the middle of an element."""
        script = """(selector => {
            const element = document.querySelector(selector);
            element.scrollIntoView({ block: "nearest" });
            const { x, y, width, height } = element.getBoundingClientRect();
            return [x + width / 2, y + height / 2];
        })"""
        x, y = self.js(f"{script}({json.dumps(selector)})")
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
