"""A real headless Chromium that opens a page, over its debugging pipe; no package needed.

with chromium.opened(path) as page:
    page.press("1")
    assert page.value("document.title") == "…"
assert page.errors == [] and page.requests == []
"""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SECONDS = 60.0
_PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
# (key, code, which) of keys that are no letters.
_KEYS = {
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40,
    "Tab": 9, "Enter": 13, "Escape": 27, " ": 32,
}  # fmt: skip


def program() -> str:
    """Where Chromium is, by `$CHROMIUM` or its usual names; skips the test if nowhere."""
    found = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, _NAMES)), ""
    )
    if not found:
        pytest.skip("no Chromium is found: install one, or name it by CHROMIUM")
    return found


@contextlib.contextmanager
def opened(path, *, phone=False, dark=False, profile=None):
    """A page of a local file, loaded.

    Args:
      path: of the file.
      phone: on a screen as small as a phone's.
      dark: for a person who prefers dark pages.
      profile: a folder that keeps what pages store, for another time.

    Yields a `Page`, whose attributes can be read afterwards.
    """
    with tempfile.TemporaryDirectory() as folder:
        browser = _Browser(program(), profile or f"{folder}/profile")
        try:
            page = Page(browser, folder)
            page.start(pathlib.Path(path).resolve().as_uri(), phone, dark)
            yield page
            page.settle()
        finally:
            browser.close()


class Page:
    """A page.

    Attributes:
      errors: what scripts threw, and what the console was told as an error.
      requests: URLs that were asked for, the page itself, data: and blob: aside.
      downloads: names and contents of files that it saved.
    """

    def __init__(self, browser: "_Browser", folder: str):
        self._browser, self._folder = browser, folder
        self.errors, self.requests, self.downloads = [], [], {}
        browser.on_event = self._event
        self._url, self._loaded, self._names = "", 0, {}

    def start(self, url: str, phone: bool, dark: bool) -> None:
        self._url = url
        targets = self._browser.ask("Target.getTargets")["targetInfos"]
        (target,) = (t["targetId"] for t in targets if t["type"] == "page")
        attached = self._browser.ask(
            "Target.attachToTarget", targetId=target, flatten=True
        )
        self._browser.session = attached["sessionId"]
        self._browser.ask(
            "Browser.setDownloadBehavior",
            behavior="allow",
            downloadPath=self._folder,
            eventsEnabled=True,
        )
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self._browser.ask(f"{domain}.enable")
        if phone:
            self._browser.ask("Emulation.setDeviceMetricsOverride", **_PHONE)
        self.set_dark(dark)
        self.load(url)

    def load(self, url: str | None = None) -> None:
        """Loads the page anew."""
        before = self._loaded
        self._browser.ask("Page.navigate", url=url or self._url)
        self._browser.wait(lambda: self._loaded > before, "the page to load")

    def set_dark(self, dark: bool, *, media: str = "screen") -> None:
        """Whether the person prefers dark pages, on a screen or in print."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._browser.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def value(self, expression: str):
        """What JavaScript makes of an expression, as JSON."""
        found = self._browser.ask(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Presses and lets go of a key: a character, or a name such as `ArrowLeft`."""
        which = _KEYS.get(key, ord(key.upper()[0]))
        event = {"key": key, "windowsVirtualKeyCode": which}
        text = {"text": "\r" if key == "Enter" else key}
        typed = text if len(key) == 1 or key == "Enter" else {}
        self._browser.ask("Input.dispatchKeyEvent", type="keyDown", **event, **typed)
        self._browser.ask("Input.dispatchKeyEvent", type="keyUp", **event)

    def choose_file(self, selector: str, path) -> None:
        """Gives a file to an `<input type=file>`."""
        root = self._browser.ask("DOM.getDocument")["root"]["nodeId"]
        node = self._browser.ask("DOM.querySelector", nodeId=root, selector=selector)
        self._browser.ask(
            "DOM.setFileInputFiles", files=[str(path)], nodeId=node["nodeId"]
        )

    def wait(self, expression: str) -> None:
        """Waits until an expression is true."""
        self._browser.wait(lambda: self.value(expression), expression)

    def downloaded(self, count: int = 1) -> dict[str, bytes]:
        """The files that the page has saved, once there are so many."""
        self._browser.wait(lambda: len(self.downloads) >= count, "a download")
        return self.downloads

    def accessible(self) -> list[tuple[str, str]]:
        """What a screen reader finds, in order: role and name."""
        nodes = self._browser.ask("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored") and "role" in node
        ]

    def picture(self, path) -> None:
        """Writes a PNG of the whole page."""
        found = self._browser.ask("Page.captureScreenshot", captureBeyondViewport=True)
        pathlib.Path(path).write_bytes(base64.b64decode(found["data"]))

    def settle(self) -> None:
        """Lets the page do what it still has to do, and hears of it."""
        self.value("new Promise(done => setTimeout(done, 50))")

    def _event(self, method: str, found: dict) -> None:
        if method == "Page.loadEventFired":
            self._loaded += 1
        elif method == "Runtime.exceptionThrown":
            self.errors.append(found["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and found["type"] == "error":
            self.errors.append(found["args"])
        elif method == "Log.entryAdded" and found["entry"]["level"] == "error":
            self.errors.append(found["entry"])
        elif method == "Network.requestWillBeSent":
            url = found["request"]["url"]
            if url.partition("#")[0] != self._url and not url.startswith(
                ("data:", "blob:")
            ):
                self.requests.append(url)
        elif method == "Browser.downloadWillBegin":
            self._names[found["guid"]] = found["suggestedFilename"]
        elif method == "Browser.downloadProgress" and found["state"] == "completed":
            name = self._names[found["guid"]]
            self.downloads[name] = pathlib.Path(self._folder, name).read_bytes()


class _Browser:
    """Chromium's DevTools protocol over file descriptors 3 and 4."""

    def __init__(self, path: str, profile: str):
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        flags = [
            "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
            "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", "--disable-component-update",
            f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        # Only a shell can give a program descriptors of these numbers without a fork of
        # our own, which JAX's threads do not bear.
        shell = f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", path, *flags],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers, self._left = itertools.count(1), b""
        self._answers: dict[int, dict] = {}
        self.session, self.on_event = None, lambda method, found: None

    def ask(self, method: str, **parameters) -> dict:
        """One command's answer; events that come before it are told."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self.session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        self.wait(lambda: number in self._answers, method)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def wait(self, is_so, what: str) -> None:
        """Hears what comes until something is so."""
        end = time.monotonic() + _SECONDS
        while not is_so():
            assert time.monotonic() < end, f"Chromium: waited in vain for {what}"
            self._hear(0.05)

    def close(self) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self.session = None
            os.write(self._out, b'{"id":0,"method":"Browser.close"}\0')
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _hear(self, seconds: float) -> None:
        # Not `select.select`, which takes no number of a file beyond 1,023.
        ready = select.poll()
        ready.register(self._in, select.POLLIN)
        if not ready.poll(seconds * 1000):
            return
        data = os.read(self._in, 1 << 20)
        assert data, "Chromium has ended"
        *whole, self._left = (self._left + data).split(b"\0")
        for message in map(json.loads, whole):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.on_event(message["method"], message["params"])
