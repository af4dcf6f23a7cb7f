"""Cases that measure the page of a triage in headless Chromium."""

import shutil
import statistics
import time
from pathlib import Path

from asim_cvae.base.errors import InputError
from asim_cvae.reviewing.page import Contents, write_page
from asim_cvae.reviewing.shelf import Shelf
from asim_cvae.studies.speed.cases import Measurement

_MEGABYTES = 20.0
_SHOWN = 60  # observations that are shown one after the other
_LOOK = """async (shown) => {
    const painted = () => new Promise((wake) => requestAnimationFrame(() => setTimeout(wake)));
    const times = { showing: [], drawing: [] };
    for (let index = 1; index <= Math.min(shown, observations.length - 1); index++) {
        for (const [name, work] of [["showing", () => show(index)], ["drawing", () => drawCurves(false)]]) {
            const begin = performance.now();
            await work();
            await painted();
            times[name].push((performance.now() - begin) / 1000);
        }
    }
    return times;
}"""


def browsing(folder: str, observations: int) -> Measurement:
    """Measure how long a page takes to open, and how long an observation on it, until it is painted.

    ``drawing`` is the time in which its three light curves alone are drawn once more.

    Raises:
        InputError: there is no Chromium, or no Playwright, which drives it.
    """
    try:
        from playwright.sync_api import sync_playwright  # not installed with the package
    except ImportError as error:
        raise InputError("the page is measured by Playwright, which is not installed: make test-browser") from error
    begin = time.perf_counter()
    path = write_page(Shelf.open(Path(folder)), Contents(observations, _MEGABYTES, 0))
    writing = time.perf_counter() - begin
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        begin = time.perf_counter()
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        opening = time.perf_counter() - begin
        times = page.evaluate(_LOOK, _SHOWN)
        browser.close()
    return {
        "seconds": opening,
        "writing": writing,
        "megabytes": path.stat().st_size / 1e6,
        "showing": statistics.median(times["showing"]),
        "slow": statistics.quantiles(times["showing"], n=10)[-1],
        "drawing": statistics.median(times["drawing"]),
    }
