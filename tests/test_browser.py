"""Tests of the page in a real browser, headless Chromium; ``make test-browser`` installs it."""

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from asim_cvae.archive.journal import read_journal
from asim_cvae.archive.reader import read_observation
from asim_cvae.archive.reviews import read_agreed
from asim_cvae.inference import load
from asim_cvae.instrument.photometers import counts_to_flux, flux_to_counts
from asim_cvae.reviewing.events import write_events
from tests.conftest import PROJECT
from tests.mmia_files import NAME
from tests.reviewed import HOSTILE, HOSTILE_TEXTS, make_triage

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make test-browser")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: make test-browser installs it")

LIT = f"{NAME}.fits"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def triaged(run, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_triage(run, root, tmp_path_factory.mktemp("triage") / "out")


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: "sync_api.Browser") -> Iterator["sync_api.BrowserContext"]:
    """A browser without a network, in which nothing may go wrong, nothing else be asked for, and no dialog open."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True, accept_downloads=True)
    wrong: list[str] = []
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
    context.on(
        "request", lambda asked: wrong.append(asked.url) if not asked.url.startswith(("file:", "blob:")) else None
    )
    context.on(
        "dialog",
        lambda dialog: (wrong.append(dialog.message), dialog.dismiss()) if dialog.type == "alert" else dialog.accept(),
    )
    yield context
    context.close()
    assert not wrong


@pytest.fixture
def page(context: "sync_api.BrowserContext", triaged: Path) -> "sync_api.Page":
    return _opened(context, (triaged / "page.html").as_uri())


def _opened(context: "sync_api.BrowserContext", address: str) -> "sync_api.Page":
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    return page


def _wait(page: "sync_api.Page", condition: str) -> None:
    """Wait until a condition holds; the page's policy forbids Playwright's own way."""
    deadline = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


def _at(page: "sync_api.Page") -> tuple[str, int]:
    """File and frame that the page shows."""
    return tuple(page.evaluate("[observations[state.at].file, state.frame]"))


def _go(page: "sync_api.Page", file: str, frame: int = 0) -> None:
    page.evaluate("([file, frame]) => go(file, frame)", [file, frame])


def _range(page: "sync_api.Page") -> list[float]:
    return page.evaluate("[plots[0].scales.x.min, plots[0].scales.x.max]")


def _listed(page: "sync_api.Page") -> list[str]:
    return page.evaluate("state.shown.map((index) => observations[index].file)")


def _saved(page: "sync_api.Page", key: str) -> str:
    """Text of the file that a key saves."""
    with page.expect_download() as download:
        page.keyboard.press(key)
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_it_opens_from_the_disk_on_the_most_interesting_observation(page, triaged: Path) -> None:
    with (triaged / "observations.csv").open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert _listed(page) == [row["file"] for row in table]
    assert _at(page) == (table[0]["file"], int(table[0]["frame"]))
    assert page.inner_text("#why") == table[0]["why"]
    assert (
        f"Observation {table[0]['observation_id']}, {table[0]['start_utc'].replace('T', ' ').removesuffix('Z')} UTC"
        in page.inner_text("#title")
    )
    assert page.inner_text("#count") == "4 of 4 observations"
    assert len(page.query_selector_all("#pulses tbody tr")) == int(table[0]["pulses"])


def test_filters_choose_observations_and_can_be_cleared(page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("OBSERVATION_ID_77.fits")
    assert _listed(page) == [LIT]
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    assert len(_listed(page)) == 4
    page.fill("#f-since", "2019-03-03")
    page.fill("#f-until", "2019-05-03")
    assert len(_listed(page)) == 2
    assert HOSTILE in _listed(page)
    page.click("#clear")
    classes = page.evaluate("observations.map((one) => one.class)")
    page.select_option("#f-class", classes[0])
    assert len(_listed(page)) == classes.count(classes[0])
    page.click("#clear")
    page.fill("#f-interest", "99")
    assert page.inner_text("#count") == "0 of 4 observations"


def test_sorting_by_time_and_walking_by_keys(page) -> None:
    page.select_option("#sort", "time")
    order = _listed(page)
    assert page.evaluate("state.shown.map((index) => observations[index].start_utc)") == sorted(
        page.evaluate("observations.map((one) => one.start_utc)")
    )
    page.locator("#sort").blur()
    page.evaluate("show(state.shown[0])")
    for file in order[1:]:
        page.keyboard.press("j")
        assert _at(page)[0] == file
    page.keyboard.press("j")  # there is no further one
    page.keyboard.press("k")
    assert _at(page)[0] == order[-2]
    assert page.locator('#list tr[aria-current="true"]').count() == 1


def test_frames_by_keys_and_an_address_for_each(page, context, triaged: Path) -> None:
    _go(page, LIT, 0)
    page.keyboard.press("ArrowRight")
    assert _at(page) == (LIT, 1)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # there is none before the first
    assert _at(page) == (LIT, 0)
    _go(page, HOSTILE, 2)
    assert _at(_opened(context, page.url)) == (HOSTILE, 2)
    other = _opened(context, f"{(triaged / 'page.html').as_uri()}#file={quote(LIT)}&frame=1")
    assert _at(other) == (LIT, 1)


def test_zooming_and_moving_keep_the_photometers_together(page) -> None:
    _go(page, LIT, 1)
    whole = _range(page)
    assert whole == pytest.approx([0, 166.5], abs=0.02)
    page.keyboard.press("z")
    assert _range(page) == pytest.approx([50, 100])
    page.keyboard.press("+")
    assert _range(page) == pytest.approx([60, 90])
    page.keyboard.press(".")
    assert _range(page) == pytest.approx([69, 99])
    page.keyboard.press(",")
    page.keyboard.press("-")
    assert _range(page) == pytest.approx([50, 100])
    assert page.evaluate("plots.map((plot) => [plot.scales.x.min, plot.scales.x.max])") == [_range(page)] * 3
    page.keyboard.press("x")
    assert _range(page) == pytest.approx(whole, abs=0.02)
    box = page.locator("#plots .u-over").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 25, steps=4)
    page.wait_for_timeout(100)  # it follows the mouse a frame later
    page.mouse.up()
    page.wait_for_timeout(100)
    assert _range(page) == pytest.approx([0.25 * whole[1], 0.5 * whole[1]], rel=0.05)
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.wheel(0, 100)
    page.wait_for_timeout(100)
    assert _range(page)[1] - _range(page)[0] > 0.25 * whole[1] * 1.1


def test_light_curves_are_those_of_the_file_in_counts_and_in_flux(page, root: Path) -> None:
    for file in (LIT, NAME.replace("2019-01", "2019-03") + "8.fits"):
        _go(page, file, 0)
        _wait(page, "currentCurves !== null")
        observation = read_observation(root / file)
        shown = page.evaluate("plots.map((plot) => Array.from(plot.data[1]))")
        np.testing.assert_array_equal(np.array(shown, dtype=float), observation.counts)
    page.keyboard.press("y")
    _wait(page, "plots[2].data[1].some((value) => value % 1)")
    shown = np.array(page.evaluate("plots.map((plot) => Array.from(plot.data[1]))"), dtype=float)
    expected = counts_to_flux(observation.counts, observation.flux_per_count)
    np.testing.assert_allclose(shown, expected, rtol=1e-4)


def test_the_readout_says_counts_and_time_under_the_cursor(page, root: Path) -> None:
    _go(page, LIT, 0)
    page.evaluate("setRange(31, 32)")
    box = page.locator("#plots .u-over").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30)
    told = page.inner_text("#readout")
    ms, clock, *counts = re.fullmatch(
        r"([\d.]+) ms, (\S+) UTC: 337 nm (\d+), 180-230 nm (\d+), 777.4 nm (\d+) counts", told
    ).groups()
    observation = read_observation(root / LIT)
    sample = round(float(ms) * 100)
    assert 3140 <= sample <= 3160
    assert [int(count) for count in counts] == observation.counts[:, sample].tolist()
    assert np.datetime64(f"2019-01-03T{clock}", "us") == observation.start + np.timedelta64(10 * sample, "us")


def test_the_reconstruction_is_the_models(page, root: Path) -> None:
    _go(page, LIT, 0)
    page.keyboard.press("r")
    _wait(page, "plots[2].data[2].length > 0")
    shown = np.array(page.evaluate("plots.map((plot) => plot.data[2].slice(0, 5000))"), dtype=float)
    observation = read_observation(root / LIT)
    expected = flux_to_counts(load("pretrained").reconstruct(observation.flux[:, :5000])[0], observation.flux_per_count)
    np.testing.assert_allclose(shown, expected.reshape(3, 1000, 5).mean(-1).repeat(5, axis=-1), rtol=0.01, atol=3e-4)
    page.keyboard.press("r")
    _wait(page, "plots[2].data[2].length === 0")


def test_a_pulse_in_the_table_leads_to_its_light(page) -> None:
    _go(page, LIT, 2)
    row = page.locator("#pulses tbody tr").filter(has_text="31.2").first
    row.click()
    assert _at(page) == (LIT, 0)
    first, last = _range(page)
    assert first < 31.24 < last
    assert last - first < 50


def test_labels_kinds_notes_and_undo(page) -> None:
    _go(page, LIT, 0)
    page.keyboard.press("2")
    page.keyboard.press("Shift+Digit3")
    page.keyboard.press("n")
    page.keyboard.type("<b>two</b> pulses? 1 z")
    page.keyboard.press("Enter")
    label = (
        "(({ file }) => { const one = labelOf(file, state.frame); "
        "return one && [one.class, one.kinds, one.note, one.chosen]; })(observations[state.at])"
    )
    assert page.evaluate(label) == ["HCLA", ["elve"], "<b>two</b> pulses? 1 z", "hand"]
    assert "HCLA, elve, note: <b>two</b> pulses? 1 z" in page.inner_text("#label-state")
    assert page.locator("#class-buttons [aria-pressed=true]").inner_text().endswith("HCLA")
    assert "1 frame labelled, in this browser alone: save them" in page.inner_text("#state")
    assert "labelled HCLA" in page.locator("#strip button").first.get_attribute("aria-label")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("1")
    page.keyboard.press("u")
    assert page.evaluate("labels.size") == 1
    for expected in (["HCLA", ["elve"], "", "hand"], ["HCLA", [], "", "hand"], None):
        page.keyboard.press("u")
        assert page.evaluate(label) == expected
    page.keyboard.press("3")
    page.keyboard.press("0")
    assert page.evaluate("labels.size") == 0


def test_labels_outlive_the_tab_and_are_saved_as_a_label_table(page, context, tmp_path: Path, triaged: Path) -> None:
    page.fill("#reviewer", "=cmd")
    page.locator("#reviewer").blur()
    _go(page, LIT, 1)
    page.keyboard.press("5")
    _go(page, HOSTILE, 0)
    page.keyboard.press("4")
    page.close()  # as if it were killed: nothing is asked
    again = _opened(context, (triaged / "page.html").as_uri())
    assert "2 frames labelled, in this browser alone" in again.inner_text("#state")
    other = _opened(context, (triaged / "page.html").as_uri())
    _go(other, LIT, 2)
    other.keyboard.press("5")
    _wait(again, "labels.size === 3")
    (tmp_path / "labels.csv").write_text(_saved(again, "s"), encoding="utf-8")
    assert again.inner_text("#state") == "3 frames labelled, saved"
    table = read_agreed(tmp_path / "labels.csv")
    assert table.labels == {(LIT, 1): "N", (LIT, 2): "N", (HOSTILE, 0): "LCLA"}
    assert not table.problems
    rows = list(csv.DictReader(io.StringIO((tmp_path / "labels.csv").read_text(encoding="utf-8-sig"))))
    assert {row["Reviewer"] for row in rows} == {"'=cmd"}
    assert {row["Chosen"] for row in rows} == {"hand"}
    again.select_option("#f-labels", "no")
    assert not {LIT, HOSTILE} & set(_listed(again))


def test_selected_events_are_exported_and_lead_back_to_their_light_curves(page, root: Path, tmp_path: Path) -> None:
    _go(page, HOSTILE, 1)
    page.keyboard.press("v")
    table = tmp_path / "events.csv"
    table.write_text(_saved(page, "e"), encoding="utf-8")
    (row,) = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8")))
    assert row["file"] == HOSTILE
    assert write_events(table, {HOSTILE: root / HOSTILE}, tmp_path / "events.npz") == []
    with np.load(tmp_path / "events.npz") as events:
        np.testing.assert_array_equal(events["flux"], read_observation(root / HOSTILE).flux)


def test_maps_and_similar_frames_lead_to_others(page) -> None:
    _go(page, LIT, 0)
    page.keyboard.press("l")
    assert _at(page)[0] != LIT
    index, x, y, frame = page.evaluate(
        "() => { const one = latentPlaces().find(({ index }) => observations[index].file === "
        + f"{LIT!r}); return [one.index, one.px, one.py, observations[one.index].frames.frame[one.row]]; }}"
    )
    page.locator("#latent").click(position={"x": x, "y": y})
    assert (page.evaluate("state.at"), _at(page)[1]) == (index, frame)
    words = page.evaluate("[...$('map-colour').options].map((option) => option.textContent)")
    for word in [*words[1:], words[0]]:
        page.keyboard.press("m")
        assert page.locator("#map-colour option:checked").inner_text() == word


def test_help_lists_every_key_and_keys_are_silent_beneath_it(page) -> None:
    page.keyboard.press("?")
    told = page.inner_text("#keys")
    for words in ("next observation", "label HCHA", "undo", "reconstruction", "save the labels", "next frame to label"):
        assert words in told
    before = _at(page)
    page.keyboard.press("j")
    page.keyboard.press("1")
    assert _at(page) == before
    assert page.evaluate("labels.size") == 0
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert _at(page) != before


def test_hostile_text_is_shown_and_does_nothing(page) -> None:
    _go(page, HOSTILE, 0)
    assert HOSTILE in page.inner_text("#facts")
    assert page.evaluate("document.title") != "hacked"
    assert page.locator("img").count() == 0
    assert page.locator("script:not([type])").count() == 1


def test_hostile_notes_are_kept_shown_and_saved_as_they_are(page, context, triaged: Path, tmp_path: Path) -> None:
    frames = [(file, frame) for file in _listed(page) for frame in range(3)]
    places = dict(zip(HOSTILE_TEXTS, frames + [(LIT, 0)] * len(HOSTILE_TEXTS), strict=False))
    for text, (file, frame) in places.items():
        _go(page, file, frame)
        page.evaluate("(text) => give({ class: 'N', note: text })", text)
        assert page.inner_text("#label-state").startswith(f"N, note: {text}")
        page.fill("#f-text", text[:40])
        assert page.evaluate("state.shown.length") >= 1
        page.fill("#f-text", "")
    again = _opened(context, (triaged / "page.html").as_uri())
    kept = again.evaluate("[...labels.values()].map((one) => [one.file, one.frame, one.note])")
    last = {place: text for text, place in places.items()}
    assert {(file, frame): note for file, frame, note in kept} == last
    (tmp_path / "labels.csv").write_text(_saved(again, "s"), encoding="utf-8")
    rows = csv.DictReader(io.StringIO((tmp_path / "labels.csv").read_text(encoding="utf-8-sig")))
    cells = {(row["File Name"], int(row["Frame Number"])): row["Note"] for row in rows}
    assert {place: note.removeprefix("'") for place, note in cells.items()} == last
    assert not [note for note in cells.values() if note[0] in "=+@-"]
    assert read_agreed(tmp_path / "labels.csv").labels == dict.fromkeys(last, "N")
    assert again.evaluate("document.title") != "hacked"


def test_a_screen_reader_finds_its_way(page) -> None:
    _go(page, LIT, 0)
    names = {
        "table": ["Ranked observations"],
        "region": ["Observation"],
        "group": ["Label of the frame", "Frames"],
        "textbox": ["Note"],
        "combobox": ["Class", "Kind", "Sort by"],
        "button": ["Export events", "Undo"],
        "img": [re.compile("337 nm: largest flux"), re.compile("Latent map of"), re.compile("Places of")],
    }
    for role, name in ((role, name) for role, those in names.items() for name in those):
        assert page.get_by_role(role, name=name).first.is_visible(), name
    page.keyboard.press("4")
    assert page.text_content("#announce") == "frame 0: LCLA"
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, select')].filter((one) => !one.textContent.trim() && "
        "!one.getAttribute('aria-label') && !one.labels?.length && !one.title).map((one) => one.outerHTML)"
    )
    assert nameless == []


def test_light_and_dark(browser, context, triaged: Path) -> None:
    address = (triaged / "page.html").as_uri()
    page = _opened(context, address)
    back = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(back) == "rgb(255, 255, 255)"
    page.keyboard.press("d")
    assert page.evaluate(back) == "rgb(20, 22, 26)"
    dark = browser.new_context(color_scheme="dark")
    assert _opened(dark, address).evaluate(back) == "rgb(20, 22, 26)"
    dark.close()


def test_suggested_frames_say_how_they_were_chosen(page) -> None:
    queue = page.evaluate("queue")
    assert queue
    page.keyboard.press("q")
    _wait(page, "state.chosen.size === 1")
    assert _at(page) == (queue[0]["file"], queue[0]["frame"])
    page.keyboard.press("5")
    assert page.evaluate("labelOf(observations[state.at].file, state.frame).chosen") == queue[0]["chosen"]
    page.keyboard.press("q")
    _wait(page, "state.chosen.size === 2")
    assert _at(page) == (queue[1]["file"], queue[1]["frame"])


def _serve(triaged: Path, port: int = 0) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "asim_cvae.review", f"folder={triaged}", "reviewer=anna", f"port={port}"]
    server = subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ}
    )
    for line in server.stdout:
        if address := re.search(r"open (http://127\.0\.0\.1:\d+/\S+/) ", line):
            return server, address[1]
    raise AssertionError("the server printed no address")


def test_served_labels_are_in_the_journal_and_survive_kills(browser, triaged: Path) -> None:
    journal = triaged / "labels" / "anna.jsonl"
    server, address = _serve(triaged)
    context = browser.new_context()
    try:
        page, other = _opened(context, address), _opened(context, address)
        _go(page, LIT, 0)
        page.keyboard.press("2")
        _wait(page, "document.querySelector('#state').textContent.includes('all in the journal')")
        assert {place: entry.classification for place, entry in read_journal(journal).entries.items()} == {
            (LIT, 0): "HCLA"
        }
        other.evaluate("window.dispatchEvent(new Event('focus'))")
        _wait(other, "labels.size === 1")
        _go(other, LIT, 1)
        other.keyboard.press("3")
        _wait(other, "pending.entries().length === 0")
        server.send_signal(signal.SIGKILL)
        server.wait()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("4")  # nobody is there to take it
        _wait(page, "document.querySelector('#state').textContent.includes('1 labels are not saved')")
        assert (LIT, 2) not in read_journal(journal).entries
        server, address = _serve(triaged, int(re.search(r":(\d+)/", address)[1]))
        again = _opened(context, address)
        _wait(again, "pending.entries().length === 0 && labels.size === 3")
        labelled = {place: entry.classification for place, entry in read_journal(journal).entries.items()}
        assert labelled == {(LIT, 0): "HCLA", (LIT, 1): "LCHA", (LIT, 2): "LCLA"}
        again.keyboard.press("q")
        _wait(again, "state.chosen.size === 1")
    finally:
        context.close()
        server.terminate()
        told, _ = server.communicate(timeout=60)
    assert f"ended; labels are in {journal}" in told


def test_the_key_of_pulses_leads_to_each_in_its_turn(page) -> None:
    _go(page, LIT, 1)
    onsets = [0.4, 1.0, 31.2, 31.4, 160.0, 166.0]
    page.evaluate(
        "(onset_ms) => Object.assign(observations[state.at].pulses, "
        "{ onset_ms, width_ms: onset_ms.map(() => 0.5), pulse: onset_ms.map((_, at) => at) })",
        onsets,
    )
    told = []
    for _ in range(len(onsets) + 1):
        page.keyboard.press("p")
        told.append(page.text_content("#announce"))
    assert told == [*(f"pulse {at} at {onset:g} ms" for at, onset in enumerate(onsets)), "no further pulse"]
    _go(page, HOSTILE, 0)
    _go(page, LIT, 0)
    page.keyboard.press("p")
    assert page.text_content("#announce") == "pulse 0 at 0.4 ms"


def test_no_coast_runs_across_the_world(page) -> None:
    drawn = page.evaluate(
        """() => {
          const pen = CanvasRenderingContext2D.prototype;
          const { beginPath, moveTo, lineTo } = pen;
          const lengths = [];
          let last = null;
          pen.beginPath = function () { last = null; beginPath.call(this); };
          pen.moveTo = function (x, y) { last = x; moveTo.call(this, x, y); };
          pen.lineTo = function (x, y) { lengths.push(Math.abs(x - (last ?? x))); last = x; lineTo.call(this, x, y); };
          drawWorld();
          Object.assign(pen, { beginPath, moveTo, lineTo });
          return [lengths.length, Math.max(...lengths), document.getElementById("world").clientWidth];
        }"""
    )
    assert drawn[0] > 1000
    assert drawn[1] < drawn[2] / 2


def test_a_label_that_is_not_taken_is_not_announced(browser, triaged: Path) -> None:
    server, address = _serve(triaged)
    context = browser.new_context()
    try:
        page = context.new_page()
        page.route("**/labels", lambda route: route.fulfill(status=500, body="the disk is gone"))
        page.goto(address)
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        before = page.text_content("#announce")
        page.keyboard.press("2")
        _wait(page, "document.querySelector('#state').textContent.includes('so none is taken')")
        assert page.text_content("#announce") == before
        assert page.evaluate("[labels.size, done.length]") == [0, 0]
    finally:
        context.close()
        server.terminate()
        server.communicate(timeout=60)
