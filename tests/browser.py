"""A headless Chromium that opens a page from the disk, told what to do over its debugging pipe."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe",
    "--disable-background-networking", "--window-size=1280,900",
)  # fmt: skip


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


class Browser:
    """One page; ``complaints`` are what the console and the page's policy say of it."""

    def __init__(self, profile: Path) -> None:
        program = chromium()
        assert program is not None
        to_read, self.write = os.pipe()
        self.read, to_write = os.pipe()
        # The browser reads its orders from descriptor 3 and answers on 4.
        os.set_inheritable(to_read, True)
        os.set_inheritable(to_write, True)
        line = f'exec 3<&{to_read} 4>&{to_write}; exec "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", line, "bash", program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self.held, self.number, self.session = b"", 0, None
        self.complaints: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Log", "Runtime", "Page"):
            self.ask(f"{domain}.enable")

    def open(self, page: Path) -> None:
        self.ask("Page.navigate", url=page.absolute().as_uri())
        while self.run("document.readyState + location.protocol") != "completefile:":
            pass

    def run(self, expression: str) -> Any:
        """The value of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        """The answer to one order; what the page says in between is kept."""
        self.number += 1
        order: dict[str, Any] = {"id": self.number, "method": method, "params": arguments}
        if self.session is not None:
            order["sessionId"] = self.session
        os.write(self.write, json.dumps(order).encode() + b"\0")
        while (said := self._said()).get("id") != self.number:
            if said.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.complaints.append(json.dumps(said["params"]))
        assert "error" not in said, said
        return said["result"]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        os.close(self.read)
        os.close(self.write)

    def _said(self) -> dict[str, Any]:
        while b"\0" not in self.held:
            part = os.read(self.read, 1 << 16)
            assert part, "the browser has ended"
            self.held += part
        message, _, self.held = self.held.partition(b"\0")
        return json.loads(message)
