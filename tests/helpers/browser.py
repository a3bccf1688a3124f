"""Drives a headless Chromium by its debugging pipe: real clicks, real sizes, screenshots, and all errors it reports."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE = 60


class Browser:
    """One tab. ``errors`` holds uncaught exceptions, errors on the console, and blocked or failed requests."""

    def __init__(self, profile):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        far = [fcntl.fcntl(fd, fcntl.F_DUPFD, 50) for fd in (theirs_in, theirs_out)]  # 3 and 4 may be taken here
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", *QUIET]
        shell = ["bash", "-c", f'exec "$@" 3<&{far[0]} 4>&{far[1]}', "bash"]
        self.process = subprocess.Popen(
            [*shell, *command, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=far,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in (*far, theirs_in, theirs_out):
            os.close(fd)
        self.reading, self.writing = ours_in, ours_out
        self.errors, self._rest, self._number, self._session = [], b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self):
        self._session = None
        os.close(self.writing)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.reading)

    def call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _message(self):
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self.reading], [], [], max(0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            part = os.read(self.reading, 1 << 20)
            assert part, "Chromium has ended"
            self._rest += part
        text, self._rest = self._rest.split(b"\0", 1)
        message = json.loads(text)
        self._keep_error(message.get("method"), message.get("params"))
        return message

    def _keep_error(self, method, event):
        if method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.errors.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(argument.get("value")) for argument in event["args"]))

    def run(self, script):
        """The value of an expression in the page; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, address, ready="true"):
        """Open an address and wait until an expression is true there."""
        self.call("Page.navigate", url=str(address))
        self.wait(ready)

    def wait(self, condition):
        end = time.monotonic() + PATIENCE
        while not self.run(f"document.readyState === 'complete' && !!({condition})"):
            assert time.monotonic() < end, f"never true: {condition}; errors: {self.errors}"
            time.sleep(0.05)

    def size(self, width, height, scheme="light"):
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def click(self, selector):
        """Scroll an element into view and click on its middle with the mouse."""
        name = json.dumps(selector)
        x, y = self.run(
            f"(() => {{ const node = document.querySelector({name}); node.scrollIntoView({{ block: 'center' }});"
            "const box = node.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def choose(self, selector, value):
        """Set a select or an input as a user does."""
        name = json.dumps(selector)
        self.run(
            f"(() => {{ const node = document.querySelector({name}); node.value = {json.dumps(value)};"
            "node.dispatchEvent(new Event(node.tagName === 'SELECT' ? 'change' : 'input')); })()"
        )

    def photograph(self, path, whole=False):
        """Write a screenshot of what is seen, or of the whole page."""
        options = {}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            options = {
                "clip": {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 15000), "scale": 1}
            }
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole, **options)
        path.write_bytes(base64.b64decode(shot["data"]))
