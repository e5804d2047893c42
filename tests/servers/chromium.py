"""A real Chromium, driven by playwright: windows of any width in light and dark, pictures, and axe's look at each page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, sync_playwright

from tests.servers.cores import steady
from tests.servers.identities import PASSWORD, Employee

# The machine is small and the server under test is on it too.
PATIENCE: Final = 20_000
WIDTHS: Final = (360, 768, 1280)
WCAG: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
PLAIN_NAME: Final = "doorlist.example"
"""This machine by a name that a browser does not trust without https, unlike 127.0.0.1: to such a place it sends no Sec-Fetch-Site."""
FLAGS: Final = (
    f"--host-resolver-rules=MAP {PLAIN_NAME} 127.0.0.1",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class ChromiumMissing(Exception):
    """There is no Chromium here; `make servers` installs it."""


class Window:
    """One person's browser, with cookies of its own. `errors` is what it complained of: scripts and styles that the page's own
    policy refused, exceptions, and parts of pages that could not be had. A page that itself answers with an error is none."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.errors: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("response", self._answered)
        self.page.on("requestfailed", self._failed)

    def sign_in(self, employee: Employee, *, password: str = PASSWORD) -> None:
        """Fills in the form of an identity provider of ours, and returns when the page after it is there."""
        self.page.locator("input[name=user]").fill(employee.uid)
        self.page.locator("input[name=password]").fill(password)
        self.page.locator("form:has(input[name=password]) [type=submit]").first.click()

    def leave(self) -> None:
        """Confirms a sign-out where the provider asks; some do not."""
        self.page.wait_for_load_state()
        button = self.page.locator("button[name=logout]")
        if button.is_visible():
            button.click()

    def picture(self, folder: Path, name: str) -> Path:
        """Of the whole page, however long."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        self.page.screenshot(path=path, full_page=True, animations="disabled")
        return path

    def faults(self) -> list[str]:
        """What axe holds against this page at WCAG 2.2 AA, a line for each rule and element; none is good."""
        found = Axe().run(self.page, options={"runOnly": {"type": "tag", "values": list(WCAG)}, "resultTypes": ["violations"]})
        return [
            f"{violation['id']} ({violation['impact']}): {' '.join(map(str, node['target']))}: {node['failureSummary']}"
            for violation in found.response["violations"]
            for node in violation["nodes"]
        ]

    def too_wide(self) -> bool:
        """True where the page must be scrolled sideways, which WCAG 1.4.10 forbids from 320 pixels on."""
        wide: bool = self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        return wide

    def with_larger_text(self) -> None:
        """As for a reader who has set their browser to letters of twice the size: from the next page on."""
        client = self.context.new_cdp_session(self.page)
        client.send("Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}})

    def _said(self, message: ConsoleMessage) -> None:
        # Of those there is an entry by `_answered`, which knows pages from their parts.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.errors.append(message.text)

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and not response.request.is_navigation_request():
            self.errors.append(f"{response.status} {response.url}")

    def _failed(self, request: Request) -> None:
        # One page's parts are dropped when the next one comes.
        if not request.is_navigation_request() and request.failure != "net::ERR_ABORTED":
            self.errors.append(f"{request.failure} {request.url}")


class Chromium:
    """A running browser; ask it for windows."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    @contextmanager
    def window(
        self, *, width: int = 1280, height: int = 800, dark: bool = False, scripts: bool = True, language: str = "en-GB"
    ) -> Iterator[Window]:
        """A new person's, who was never here. With `scripts=False` no script of any page is run."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            java_script_enabled=scripts,
            locale=language,
            ignore_https_errors=True,
        )
        context.set_default_timeout(PATIENCE)
        try:
            yield Window(context)
        finally:
            context.close()


def binary() -> str:
    """`DOORLIST_TEST_CHROMIUM`, or Debian's. Raises ChromiumMissing."""
    named = os.environ.get("DOORLIST_TEST_CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else ["chromium", "chromium-browser", "google-chrome"])), None)
    if found is None:
        raise ChromiumMissing(f"{named or 'Chromium'} is not installed here; `make servers` installs it")
    return found


@contextmanager
def running_chromium() -> Iterator[Chromium]:
    """For as long as the block lasts, and no longer than a module of tests: until it ends, asyncio cannot be used in this thread."""
    executable = binary()
    # Chromium refuses to be root in its sandbox.
    unboxed = ["--no-sandbox"] if os.geteuid() == 0 else []
    with ExitStack() as leaving:
        # The browser is a child of the driver.
        with steady():
            playwright = leaving.enter_context(sync_playwright())
            browser = playwright.chromium.launch(executable_path=executable, args=[*FLAGS, *unboxed])
        try:
            yield Chromium(browser)
        finally:
            browser.close()
