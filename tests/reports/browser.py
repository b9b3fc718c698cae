"""A headless browser without network access, and helpers for the page."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from tests.conftest import DEADLINE

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")


class Page:
    """A page in a browser; `press` sends keys to the focused element."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        self.do = driver.execute_script

    def show(self, file: Path, hash_: str = "", width: int = 1280, media: str = "", scheme: str = "light") -> None:
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # else a click may come before its target has arrived
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get("about:blank")  # a new hash alone would not load the page again
        self.driver.get(file.as_uri() + hash_)

    def all(self, selector: str) -> list:
        return self.driver.find_elements("css selector", selector)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def methods(self, table: int = 0) -> list[str]:
        """Those that a table shows, from top to bottom."""
        rows = f"document.querySelectorAll('article.table')[{table}].querySelectorAll('tbody tr')"
        return self.do(f"return [...{rows}].filter(r => r.checkVisibility()).map(r => r.querySelector('.method').textContent)")

    def column(self, place: int, table: int = 0) -> list[str]:
        rows = f"document.querySelectorAll('article.table')[{table}].querySelectorAll('tbody tr')"
        return self.do(f"return [...{rows}].map(r => r.cells[{place}].textContent.split('±')[0].trim())")

    def status(self) -> str:
        return self.all("[role=status]")[0].text

    def choose(self, name: str, value: str) -> None:
        change = "s.value = arguments[1]; s.dispatchEvent(new Event('input', {bubbles: true}))"
        self.do(f"const s = document.querySelector(`[name=${{arguments[0]}}]`); {change}", name, value)

    def runs(self) -> list[str]:
        """Opens every run of the panel; what they say."""
        self.do("for (const run of document.querySelectorAll('#panel-body details')) run.open = true")
        deadline = time.monotonic() + DEADLINE
        while len(found := self.all("#panel-body .run")) < len(self.all("#panel-body details")):
            assert time.monotonic() < deadline, "a run was opened and stayed empty"
        return [one.text for one in found]

    def complaints(self) -> list[str]:
        return [line["message"] for line in self.driver.get_log("browser")]


@contextmanager
def opened(profile: Path) -> Iterator[Page]:
    """A browser with its profile in that folder, stopped at the end whatever happens."""
    options = ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",  # which does not work for root, who runs tests in containers
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--no-proxy-server",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",  # loopback alone
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # with a path of its own, as selenium would otherwise look for a driver on the network
    driver = Chrome(options=options, service=ChromeService(DRIVER))
    try:
        yield Page(driver)
    finally:
        driver.quit()
