"""Looks for faults of the built documentation: dead links and, in a browser, errors and pages that do not fit.

    python docs/browse.py docs/_build/html                            # dead links (the end of `make docs`)
    python docs/browse.py docs/_build/html --pictures build/pages     # in Chromium as well (`make pages`)

The second one opens every page at the widths of a screen and of a telephone, and saves a picture of each. A page must
log no error, ask no other machine for anything, and be no wider than the window. Any fault is printed, and the status
is then 1.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import functools
import http.server
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from bs4 import BeautifulSoup
from tornado.websocket import WebSocketClientConnection, websocket_connect

WIDTHS = (1300, 420)
#: The longest picture, in pixels, and seconds for a page.
TALLEST, PATIENCE = 12_000, 60
#: Elements that reach past the right edge of the window, unless they are in a box that scrolls.
TOO_WIDE = """
(() => {
  const right = document.documentElement.clientWidth + 1, found = [];
  if (document.documentElement.scrollWidth <= right) return found;
  for (const one of document.querySelectorAll('article *')) {
    if (one.getBoundingClientRect().right <= right) continue;
    let box = one.parentElement;
    while (box && !['auto', 'scroll', 'hidden'].includes(getComputedStyle(box).overflowX)) box = box.parentElement;
    if (!box) found.push(one.tagName.toLowerCase() + ' ' + (one.textContent || one.src || '').trim().slice(0, 60));
  }
  return found.length ? found.slice(0, 3) : ['the page'];
})()
"""
READY = """
new Promise(done => {
  const wait = () => window.MathJax && MathJax.startup && MathJax.startup.promise
    ? MathJax.startup.promise.then(done) : done();
  document.readyState === 'complete' ? wait() : addEventListener('load', wait);
}).then(() => document.querySelectorAll('mjx-merror').length)
"""


def dead_links(folder: Path) -> list[str]:
    """Links and images between the pages that lead nowhere."""
    pages = {
        page.relative_to(folder).as_posix(): BeautifulSoup(page.read_text(), "html.parser")
        for page in folder.rglob("*.html")
    }
    anchors = {name: {tag["id"] for tag in page.find_all(id=True)} for name, page in pages.items()}
    found = []
    for name, page in pages.items():
        for tag, attribute in (
            ("a", "href"),
            ("img", "src"),
            ("link", "href"),
            ("script", "src"),
            ("source", "srcset"),
        ):
            for one in page.find_all(tag, attrs={attribute: True}):
                target, anchor = urldefrag(urljoin(f"/{name}", one[attribute]))
                if urlsplit(target).scheme:
                    continue
                target = unquote(target).split("?")[0].lstrip("/")
                if not (folder / target).is_file() or (anchor and target in anchors and anchor not in anchors[target]):
                    found.append(f"{name}: {one[attribute]}")
    return sorted(set(found))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of this folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


@contextmanager
def browser() -> Iterator[str]:
    """A Chromium without a window; the address by which it is told what to do."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        sys.exit("browse: needs Chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0")
        command = [program, *options, f"--user-data-dir={profile}"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - no words of others
            try:
                said = iter(process.stderr or ())
                address = next(line for line in said if line.startswith("DevTools listening on ")).split()[-1]
                threading.Thread(target=list, args=[said], daemon=True).start()
                yield address
            finally:
                process.terminate()


class Tab:
    """A page of the browser, by its debugging protocol."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection, self.numbers = connection, itertools.count(1)
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        await self.connection.write_message(json.dumps(message))
        while True:
            answer = json.loads(str(await asyncio.wait_for(self.connection.read_message(), PATIENCE)))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            self.events.append(answer)

    async def value(self, script: str) -> Any:
        found = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return found["result"].get("value")

    async def open(self) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")


def complaints(events: list[dict[str, Any]], address: str) -> Iterator[str]:
    """What the browser said of a page: errors, and requests to other machines."""
    for event in events:
        method, said = event.get("method"), event.get("params", {})
        if method == "Log.entryAdded" and said["entry"]["level"] == "error":
            yield f"{said['entry']['text']} {said['entry'].get('url', '')}"
        elif method == "Runtime.exceptionThrown":
            yield said["exceptionDetails"].get("exception", {}).get("description", "an exception")[:200]
        elif method == "Runtime.consoleAPICalled" and said["type"] == "error":
            yield str([one.get("value") for one in said["args"]])[:200]
        elif method == "Network.requestWillBeSent" and not said["request"]["url"].startswith(
            (address, "data:", "blob:")
        ):
            yield f"asks for {said['request']['url']}"


async def visit(folder: Path, pages: list[str], pictures: Path, *, dark: bool) -> int:
    """Open each page at each width; returns the number of complaints."""
    count = 0
    with served(folder) as address, browser() as debugger:
        tab = Tab(await websocket_connect(debugger, max_message_size=2**28))
        await tab.open()
        if dark:
            await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        for page, width in itertools.product(pages, WIDTHS):
            size = {"width": width, "deviceScaleFactor": 1, "mobile": False}
            await tab.call("Emulation.setDeviceMetricsOverride", height=900, **size)
            tab.events.clear()
            await tab.call("Page.navigate", url=f"{address}/{page}")
            wrong = [f"{number} formulas with errors"] if (number := await tab.value(READY)) else []
            wrong += [f"wider than {width} px: {one}" for one in await tab.value(TOO_WIDE) or []]
            wrong += complaints(tab.events, address)
            for text in wrong:
                print(f"{page}: {text}", flush=True)
            count += len(wrong)
            tall = min(int(await tab.value("document.documentElement.scrollHeight")), TALLEST)
            await tab.call("Emulation.setDeviceMetricsOverride", height=tall, **size)
            picture = await tab.call("Page.captureScreenshot", format="png")
            name = re.sub(r"[/.]", "-", page.removesuffix(".html"))
            Path(pictures, f"{name}-{width}{'-dark' * dark}.png").write_bytes(base64.b64decode(picture["data"]))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("html", type=Path, help="the folder of the built documentation")
    parser.add_argument("--pictures", type=Path, help="a folder for pictures of the pages in Chromium")
    parser.add_argument("--dark", action="store_true", help="with the dark colours")
    parser.add_argument("--pages", nargs="+", help="pictures of these only, such as index.html")
    arguments = parser.parse_args()
    dead = dead_links(arguments.html)
    for text in dead:
        print(f"dead link: {text}")
    count = len(dead)
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        pages = arguments.pages or sorted(
            page.relative_to(arguments.html).as_posix()
            for page in arguments.html.rglob("*.html")
            if "_modules" not in page.parts and "_static" not in page.parts
        )
        count += asyncio.run(visit(arguments.html, pages, arguments.pictures, dark=arguments.dark))
        print(f"{len(pages)} pages, {count} faults; pictures in {arguments.pictures}")
    sys.exit(bool(count))


if __name__ == "__main__":
    main()
