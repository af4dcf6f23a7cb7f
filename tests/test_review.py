"""Tests of the page, its server and what they write, without a browser."""

import base64
import csv
import hashlib
import json
import re
import shutil
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from matplotlib.figure import Figure

from asim_cvae.archive.reader import read_observation
from asim_cvae.archive.reviews import read_agreed
from asim_cvae.base.errors import InputError
from asim_cvae.figures.ranking import Ranked, draw_top
from asim_cvae.inference import load
from asim_cvae.instrument.photometers import DEAD_TIME, counts_to_flux, flux_to_counts
from asim_cvae.reviewing.curves import pack_counts, pack_rates
from asim_cvae.reviewing.events import write_events
from asim_cvae.reviewing.page import Contents, check_page, data_script, write_page
from asim_cvae.reviewing.records import agrees_with, read_records
from asim_cvae.reviewing.server import Desk, ReviewServer
from asim_cvae.reviewing.shelf import Shelf
from tests.mmia_files import NAME
from tests.reviewed import HOSTILE, HOSTILE_TEXTS, make_triage


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def triaged(run, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_triage(run, root, tmp_path_factory.mktemp("triage") / "out")


@pytest.fixture(scope="module")
def shelf(triaged: Path) -> Shelf:
    return Shelf.open(triaged)


@pytest.fixture
def server(shelf: Shelf, tmp_path: Path) -> Iterator[ReviewServer]:
    class DeskElsewhere(Desk):
        journal = tmp_path / "anna.jsonl"

    with ReviewServer(DeskElsewhere(shelf, "anna"), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def _page_data(page: str) -> dict[str, dict]:
    """The data of a page by the name of their elements."""
    found = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', page, re.S)
    return {name: json.loads(text) for name, text in found}


def _answer(server: ReviewServer, path: str, method: str, body: object, headers: dict[str, str]) -> HTTPResponse:
    """Ask a server for a path below its address."""
    address = urlsplit(server.address)
    connection = HTTPConnection(address.hostname, address.port, timeout=60)
    target = path if path.startswith("/") else address.path + path
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, target, None if body is None else json.dumps(body), names)
    return connection.getresponse()


def _ask(server: ReviewServer, path: str, method: str = "GET", body: object = None, **headers: str) -> tuple[int, str]:
    """Ask a server; status and answer."""
    answer = _answer(server, path, method, body, headers)
    return answer.status, answer.read().decode()


def _post(server: ReviewServer, label: object, **headers: str) -> tuple[int, str]:
    return _ask(
        server, "labels", "POST", label, **{"Origin": server.origin, "Content_Type": "application/json", **headers}
    )


def _label(file: str, frame: int = 0, **more: object) -> dict[str, object]:
    return {"file": file, "frame": frame, "class": "HCLA", "kinds": [], "note": "", "chosen": "hand", **more}


def test_counts_on_the_page_are_those_of_the_file(triaged: Path, root: Path) -> None:
    data = _page_data((triaged / "page.html").read_text(encoding="utf-8"))
    assert len(data["data"]["observations"]) == 4
    for index, row in enumerate(data["data"]["observations"]):
        observation = read_observation(root / row["file"])
        packed = data[f"curves-{index}"]
        counts = np.frombuffer(zlib.decompress(base64.b64decode(packed["counts"])), f"<u{packed['bytes']}")
        counts = counts.reshape(3, packed["samples"]).astype(float)
        for row_of_counts, gaps in zip(counts, packed["gaps"], strict=True):
            for first, end in gaps:
                row_of_counts[first:end] = np.nan
        np.testing.assert_array_equal(counts, observation.counts)
        assert packed["dead_time"] == DEAD_TIME.tolist()
        known = ~np.isnan(observation.flux)
        flux = counts_to_flux(counts, packed["flux_per_count"])
        np.testing.assert_allclose(flux[known], observation.flux[known], rtol=1e-3, atol=0.6)


def test_a_count_that_a_byte_cannot_hold_takes_two(root: Path) -> None:
    observation = read_observation(root / f"{NAME}.fits")
    flux = observation.flux.copy()
    flux[0, 100] = counts_to_flux(np.full((3, 1), 300.0), observation.flux_per_count)[0, 0]
    packed = pack_counts(replace(observation, flux=flux))
    assert packed.head["bytes"] == 2
    assert np.frombuffer(zlib.decompress(packed.counts), "<u2")[100] == 300


def test_reconstructions_on_the_page_are_the_models(triaged: Path, root: Path) -> None:
    data = _page_data((triaged / "page.html").read_text(encoding="utf-8"))
    place = next(n for n, row in enumerate(data["data"]["observations"]) if row["file"] == f"{NAME}.fits")
    frames, packed = data["data"]["observations"][place]["frames"], data[f"curves-{place}"]
    whole = [frame for frame, gap in zip(frames["frame"], frames["gap"], strict=True) if not gap]
    steps = np.frombuffer(zlib.decompress(base64.b64decode(packed["rates"])), "<i2").reshape(len(whole), 3, 1000)
    told = data["data"]["rates"]
    rates = 2.0 ** (steps.astype(int).cumsum(-1) / told["steps"] - told["lowest"])
    observation = read_observation(root / f"{NAME}.fits")
    flux = load("pretrained").reconstruct(
        np.stack([observation.flux[:, 5000 * k : 5000 * (k + 1)] for k in whole]).astype(np.float32)
    )
    expected = np.stack([flux_to_counts(frame, observation.flux_per_count) for frame in flux])
    np.testing.assert_allclose(rates, expected.reshape(len(whole), 3, 1000, 5).mean(-1), rtol=0.01, atol=3e-4)


def test_rates_of_many_sizes_are_kept_within_a_percent() -> None:
    rates = np.repeat(10.0 ** np.random.default_rng(0).uniform(-3.5, 3, (2, 3, 1000)), 5, axis=-1)
    codes = np.frombuffer(zlib.decompress(pack_rates(rates)), "<i2").astype(int).reshape(2, 3, 1000).cumsum(-1)
    np.testing.assert_allclose(2.0 ** (codes / 64 - 12), rates[..., ::5], rtol=0.0055)


def test_the_page_lists_what_the_tables_list_and_names_no_other_address(triaged: Path) -> None:
    page = (triaged / "page.html").read_text(encoding="utf-8")
    ranked = sorted(_page_data(page)["data"]["observations"], key=lambda row: row["rank"])
    with (triaged / "observations.csv").open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert [(row["rank"], row["file"]) for row in ranked] == [(int(row["rank"]), row["file"]) for row in table]
    assert len(table) == 4
    assert "<img" not in page
    assert HOSTILE in [row["file"] for row in ranked]
    markup = re.sub(r"<(script|style)\b[^>]*>.*?</\1>", "", page, flags=re.S)
    assert not re.search(r'\b(src|href)=(?!"#)', markup)
    assert not re.search(r"https?:", markup)


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_data_cannot_end_their_element(text: str) -> None:
    element = data_script("data", {"note": text, text: [text]})
    assert element.count("<") == 2
    ((name, content),) = _page_data(element).items()
    assert (name, content) == ("data", {"note": text, text: [text]})


def test_its_policy_allows_its_own_script_alone(triaged: Path) -> None:
    page = (triaged / "page.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    script, style = (
        re.search(r"<script>(.*?)</script>", page, re.S)[1],
        re.search(r"<style>(.*?)</style>", page, re.S)[1],
    )
    for kind, text in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_page_that_is_full_lists_the_rest_without_light_curves(shelf: Shelf, triaged: Path, tmp_path: Path) -> None:
    whole = (triaged / "page.html").read_text(encoding="utf-8")
    most = (len(whole) - 10_000) / 1e6
    try:
        write_page(shelf, Contents(observations=4, megabytes=most, suggestions=0))
        part = (triaged / "page.html").read_text(encoding="utf-8")
        assert len(part) < most * 1e6
        data = _page_data(part)
        assert len(data["data"]["observations"]) == 4
        assert 1 <= len([name for name in data if name.startswith("curves-")]) < 4
    finally:
        (triaged / "page.html").write_text(whole, encoding="utf-8")


def test_a_page_of_another_version_is_not_served(triaged: Path, tmp_path: Path) -> None:
    page = (triaged / "page.html").read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(page.replace("'sha256-", "'sha256-x"), encoding="utf-8")
    with pytest.raises(InputError, match="written by another version; run the triage again"):
        check_page(tmp_path)
    (tmp_path / "page.html").unlink()
    with pytest.raises(InputError, match=r"has no page\.html; run the triage again"):
        check_page(tmp_path)


def test_the_server_gives_the_page_to_who_knows_its_address(server: ReviewServer, triaged: Path) -> None:
    status, page = _ask(server, "")
    assert status == 200
    assert page == (triaged / "page.html").read_text(encoding="utf-8")
    assert server.address.startswith("http://127.0.0.1:")
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("path", ["", "labels", "/", "../provenance.json"])
def test_nothing_that_the_server_gives_acts_elsewhere(server: ReviewServer, path: str) -> None:
    headers = _answer(server, path, "GET", None, {}).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert headers["Content-Security-Policy"].endswith("; frame-ancestors 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 403),
        ("/labels", {}, 403),
        ("/x/labels", {}, 403),
        ("//labels", {}, 403),
        ("../provenance.json", {}, 404),
        ("%2e%2e/provenance.json", {}, 404),
        ("provenance.json", {}, 404),
        ("page.html", {}, 404),
        ("labels", {"Origin": "http://evil.example"}, 403),
        ("labels", {"Origin": "null"}, 403),
        ("labels", {"Host": "evil.example"}, 403),
        ("", {"Host": "localhost"}, 403),
        ("observation?file=../provenance.json", {}, 404),
        ("observation", {}, 404),
    ],
)
def test_the_server_refuses(server: ReviewServer, path: str, headers: dict[str, str], status: int) -> None:
    assert _ask(server, path, **headers)[0] == status


def test_the_server_refuses_other_methods(server: ReviewServer) -> None:
    assert {_ask(server, "labels", method)[0] for method in ("PUT", "DELETE", "OPTIONS", "PATCH")} == {501}


@pytest.mark.parametrize(
    ("label", "headers", "status", "words"),
    [
        ({}, {"Origin": ""}, 403, "from the page alone|not answered"),
        ({}, {"Content_Type": "text/plain"}, 415, "application/json"),
        ({"note": "x" * 17_000}, {}, 413, "at most"),
        ({"note": "x" * 2001}, {}, 400, "note"),
        ({"class": "HCLX"}, {}, 400, "class"),
        ({"kinds": ["gnome"]}, {}, 400, "kinds"),
        ({"frame": 99}, {}, 400, "none of this triage"),
        ({"frame": -1}, {}, 400, "frame"),
        ({"file": "other.fits"}, {}, 400, "none of this triage"),
        ({"file": "../x"}, {}, 400, "file"),
        ({"chosen": "whim"}, {}, 400, "chosen"),
    ],
)
def test_the_server_takes_no_other_labels(
    server: ReviewServer, label: dict[str, object], headers: dict[str, str], status: int, words: str
) -> None:
    told = _post(server, {**_label(f"{NAME}.fits"), **label}, **headers)
    assert told[0] == status, told
    assert re.search(words, told[1])
    assert not server.desk.journal.exists()


def test_labels_sent_at_once_are_all_in_the_journal(server: ReviewServer, shelf: Shelf) -> None:
    labels = [_label(f"{NAME}.fits", k % 3, note=f"note {k}") for k in range(50)]
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda label: _post(server, label), labels))
    assert {status for status, _ in told} == {200}
    lines = [json.loads(line) for line in server.desk.journal.read_text().splitlines()]
    assert sorted(line["note"] for line in lines) == sorted(label["note"] for label in labels)
    assert {(line["reviewer"], line["model"]) for line in lines} == {("anna", shelf.model_digest)}
    assert (
        json.loads((shelf.ledger.folder / "provenance.json").read_text())["origin"]["files"]["model.safetensors"]
        == shelf.model_digest
    )
    entries = {entry["frame"]: entry["note"] for entry in json.loads(_ask(server, "labels")[1])["entries"]}
    assert entries == {frame: [line["note"] for line in lines if line["frame"] == frame][-1] for frame in range(3)}


def test_a_label_says_who_and_how_and_a_reviewer_cannot_be_another(server: ReviewServer) -> None:
    seen = {"class": "N", "probability": 0.9}
    given = _label(f"{NAME}.fits", 1, kinds=["elve"], chosen="random", seen=seen, reviewer="eve", model="0" * 8)
    assert _post(server, given)[0] == 200
    (line,) = [json.loads(line) for line in server.desk.journal.read_text().splitlines()]
    assert (line["reviewer"], line["chosen"], line["kinds"], line["seen"]) == ("anna", "random", ["elve"], seen)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    table = read_agreed(server.desk.journal)
    assert table.labels == {(f"{NAME}.fits", 1): "HCLA"}
    assert table.chosen == {(f"{NAME}.fits", 1): "random"}


def test_frames_that_have_a_class_are_suggested_no_more(server: ReviewServer) -> None:
    first = json.loads(_ask(server, "queue")[1])
    assert first
    assert {suggestion["chosen"] for suggestion in first} <= {"random", "margin", "anomaly"}
    assert _post(server, _label(first[0]["file"], first[0]["frame"], chosen=first[0]["chosen"]))[0] == 200
    then = [(one["file"], one["frame"]) for one in json.loads(_ask(server, "queue")[1])]
    assert (first[0]["file"], first[0]["frame"]) not in then


def test_an_observation_is_told_as_on_the_page(server: ReviewServer, triaged: Path) -> None:
    data = _page_data((triaged / "page.html").read_text(encoding="utf-8"))
    for index, row in enumerate(data["data"]["observations"]):
        told = json.loads(_ask(server, f"observation?file={quote(row['file'])}")[1])
        assert told.pop("curves") == data[f"curves-{index}"]
        assert told == {name: value for name, value in row.items() if name not in ("rank", "simulated")}


def test_files_that_are_gone_have_no_light_curve_and_are_not_suggested(shelf: Shelf, root: Path) -> None:
    there = {name: path for name, path in shelf.paths.items() if name != HOSTILE}
    poorer = Shelf(shelf.ledger, there, shelf.model_digest, None)
    entries = {entry["file"]: entry for entry in poorer.entries([HOSTILE, f"{NAME}.fits", "never.fits"])}
    assert set(entries) == {HOSTILE, f"{NAME}.fits"}
    assert "curves" not in entries[HOSTILE]
    assert "rates" not in entries[f"{NAME}.fits"]["curves"]
    assert HOSTILE not in {one.file for one in poorer.suggested((), 40)}


def test_selected_events_are_written_with_their_light_curves(run, triaged: Path, root: Path, tmp_path: Path) -> None:
    table = tmp_path / "events.csv"
    table.write_text(f'\ufefffile,frame,why\n"{HOSTILE}",1,x\n{NAME}.fits,,=1\ngone.fits,0,\n', encoding="utf-8")
    done = run("review", f"folder={triaged}", f"events={table}", f"out={tmp_path / 'events.npz'}")
    assert "gone.fits: is in none of the triage's folders any more" in done.stdout + done.stderr
    with np.load(tmp_path / "events.npz", allow_pickle=False) as events:
        assert events["file"].tolist() == [HOSTILE, f"{NAME}.fits"]
        assert events["frame"].tolist() == [1, -1]
        for place, name in enumerate(events["file"]):
            observation = read_observation(root / name)
            first, end = events["first"][place : place + 2]
            np.testing.assert_array_equal(events["flux"][:, first:end], observation.flux)
            assert events["start_utc"][place] == observation.start
            assert events["flux_per_count"][place].tolist() == observation.flux_per_count.tolist()
        assert events["first"][-1] == events["flux"].shape[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name\nx\n", "has no column file"),
        (b"file\ngone.fits\n", "no row leads to an observation"),
        (b"\xff\xfe", "read"),
    ],
)
def test_tables_that_are_none_of_events_are_refused(shelf: Shelf, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "events.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        write_events(tmp_path / "events.csv", shelf.paths, tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "give either reviewer=NAME"),
        (["reviewer=a", "events=b"], "give either reviewer=NAME"),
        (["reviewer=../x"], "reviewer="),
        (["events=no.csv", "out=x.npz"], "no such file"),
        (["events=no.csv", "out=x.csv"], "suffix .npz"),
    ],
)
def test_settings_that_lead_nowhere_are_refused(run, triaged: Path, settings: list[str], words: str) -> None:
    done = run("review", f"folder={triaged}", *settings, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_what_is_no_triage_is_refused(run, tmp_path: Path) -> None:
    done = run("review", f"folder={tmp_path}", "reviewer=anna", check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("holds no triage")


def test_a_file_whose_light_is_another_is_not_the_one_that_was_judged(shelf: Shelf, root: Path) -> None:
    for path in root.iterdir():
        record, observation = read_records(shelf.ledger, [path.name])[path.name], read_observation(path)
        assert record.agrees_with(observation)
        assert not record.agrees_with(replace(observation, flux=observation.flux * np.float32(0.99)))


def test_the_picture_shows_the_frames_that_were_judged(shelf: Shelf, root: Path, tmp_path: Path, monkeypatch) -> None:
    lit, other = root / f"{NAME}.fits", tmp_path / "files" / f"{NAME}.fits"
    other.parent.mkdir()
    shutil.copy(root / HOSTILE, other)  # of the same name and length
    row = {"file": lit.name, "frame": 0, "latitude": -17.2, "longitude": 200.0, "why": "odd"}
    is_judged = partial(agrees_with, read_records(shelf.ledger, [lit.name]))
    assert draw_top([row], {lit.name: other}, tmp_path, is_judged) is None
    drawn: list[Ranked] = []
    figure = Figure()
    monkeypatch.setattr("asim_cvae.figures.ranking.ranking_figure", lambda ranked, _: drawn.extend(ranked) or figure)
    assert draw_top([row], {lit.name: lit}, tmp_path, is_judged).suffix == ".png"
    assert ", 17.2° S, 160.0° W: odd" in drawn[0].title


def test_another_port_than_the_usual_one_is_told(shelf: Shelf, monkeypatch, caplog: pytest.LogCaptureFixture) -> None:
    with ReviewServer(Desk(shelf, "anna"), 0) as first:
        monkeypatch.setattr("asim_cvae.reviewing.server.PORT", first.server_port)
        with ReviewServer(Desk(shelf, "ben"), None) as second:
            assert second.server_port != first.server_port
    assert f"port {first.server_port} is taken, and {second.server_port} is listened on" in caplog.text
    assert f"start the next one with port={second.server_port}" in caplog.text
