"""A headless Chromium for tests of pages, over the DevTools protocol on a pair of pipes: it needs no package."""

import base64
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parent.parent
MISSING = "chromium is not installed" if shutil.which("chromium") is None else ""
WORDS = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars", "about:blank"]
KEYS = {"Tab": 9, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38, "ArrowRight": 39, "ArrowLeft": 37, "Enter": 13}


def axe() -> Path | None:
    """The script of axe-core (MPL 2.0) that `.ci/run` puts into `build/`; None where it is not there."""
    named = os.environ.get("MOSAIC_AXE")
    place = Path(named) if named else ROOT / "build" / "axe-core" / "axe.min.js"
    return place if place.is_file() else None


class Browser:
    """One page in a browser of its own; `errors` is all that its console says, `loads` what it asks a network for."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._number = 0
        self._rest = b""
        self._session = ""
        self.errors: list[str] = []
        self.loads: list[str] = []

    def __enter__(self) -> Self:
        read, self._to = os.pipe()
        self._from, write = os.pipe()
        words = shlex.join(["chromium", f"--user-data-dir={self._profile}", *WORDS])
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {words} 3<&{read} 4>&{write}"], pass_fds=(read, write), stderr=subprocess.DEVNULL
        )
        os.close(read)
        os.close(write)
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._to)
        os.close(self._from)

    def ask(self, method: str, **values: Any) -> Any:
        """The result of a command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._from, 2**20)
            assert part, "chromium has ended"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        event: dict[str, Any] = json.loads(line)
        values = event.get("params", {})
        match event.get("method"):
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded":
                self.errors.append(json.dumps(values)[:500])
            case "Network.requestWillBeSent":
                self.loads.append(values["request"]["url"][:200])
        return event

    def open(self, page: Path | str, width: int, *, dark: bool = False, height: int = 900) -> None:
        """Show the file or the address `page` in a window of `width` pixels."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.ask("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str) -> Any:
        """The value of an expression in the page, of a promise too."""
        result = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, key: str, shift: bool = False) -> None:
        """Press a key that `KEYS` names."""
        for kind in ("keyDown" if key == "Enter" else "rawKeyDown", "keyUp"):
            values = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": 8 if shift else 0}
            if kind == "keyDown":
                values["text"] = "\r"
            self.ask("Input.dispatchKeyEvent", type=kind, **values)

    def picture(self, path: Path) -> None:
        """Write a PNG of the whole page, to look at."""
        content = self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(content))
