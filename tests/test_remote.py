"""Tests of files at addresses, on fsspec's memory and local file systems: found and judged as files here are."""

import csv
import json
import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from omegaconf import OmegaConf

from asim_cvae.archive import remote
from asim_cvae.archive.discover import discover, find_root
from asim_cvae.archive.reader import read_observation
from asim_cvae.archive.remote import RemoteFile, RemoteFolder, Root, as_root
from asim_cvae.base.errors import InputError, SettingError, without_secrets
from asim_cvae.data.datamodule import MMIADataModule
from asim_cvae.frames.build import build_store
from asim_cvae.frames.plan import make_plan
from asim_cvae.frames.reading import read_into_shard, read_version
from asim_cvae.frames.representation import LinearScaling
from asim_cvae.frames.shards import NO_VERSION, Fingerprint
from asim_cvae.frames.store import FrameStore
from asim_cvae.instrument.observation import RejectedFileError
from asim_cvae.instrument.photometers import FLUX_PER_COUNT
from asim_cvae.review import _check as check_review
from asim_cvae.reviewing.shelf import find_files
from asim_cvae.runs.pretrained import NEWEST, SHIPPED
from asim_cvae.settings.schema import check_config, declared_settings
from asim_cvae.sources import check_data
from asim_cvae.triage import _check as check_triage
from asim_cvae.triaging.gathering import Filter
from asim_cvae.triaging.ledger import Folder, Ledger
from asim_cvae.triaging.origin import Origin
from asim_cvae.triaging.running import Job, triage
from tests.conftest import Run
from tests.mmia_files import NAME, level1, light, write_fits

FILE = f"{NAME}.fits"


class _Store(MemoryFileSystem):
    """A store that counts requests, gives ETags, and fails where a test tells it to."""

    protocol = "teststore"
    requests: ClassVar[list[tuple[str, str]]] = []
    failing: ClassVar[dict[str, Exception]] = {}
    details: ClassVar[dict[str, Any]] = {}

    def _note(self, kind: str, path: str) -> None:
        self.requests.append((kind, path))
        for part, error in self.failing.items():
            if part in f"{kind} {path}":
                raise error

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("teststore://", "memory://"))

    def ls(self, path: str, detail: bool = True, **more: Any) -> Any:
        self._note("ls", path)
        return [{**entry, **self.details} for entry in super().ls(path, detail=True)]

    def info(self, path: str, **more: Any) -> Any:
        self._note("info", path)
        return {**super().info(path), **self.details}

    def _open(self, path: str, mode: str = "rb", **more: Any) -> Any:
        if mode == "rb":
            self._note("open", path)
        return super()._open(path, mode, **more)


@pytest.fixture
def store() -> Iterator[_Store]:
    """An empty store at teststore://, which lives in this process."""
    fsspec.register_implementation("teststore", _Store, clobber=True)
    _Store.store.clear()
    _Store.pseudo_dirs[:] = [""]
    for kept in (_Store.requests, _Store.failing, _Store.details):
        kept.clear()
    yield _Store()
    _Store.store.clear()
    _Store.pseudo_dirs[:] = [""]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def _tree(folder: Path) -> Path:
    """A folder with a file of each kind that is told apart."""
    for place in ("a", "b", ".hidden", "a/deep/deeper"):
        (folder / place).mkdir(parents=True)
    write_fits(folder / "a" / FILE, level1(light(2)))
    for place in ("b", ".hidden", "a/deep"):
        shutil.copy(folder / "a" / FILE, folder / place)
    shutil.copy(folder / "a" / FILE, folder / "a" / "deep" / "deeper" / "other.fit")
    (folder / "b" / f"{NAME}.fits.zip").write_bytes(b"x")
    (folder / "b" / NAME).write_bytes(b"x")
    (folder / "b" / "two\nlines.fits").write_bytes(b"x")
    (folder / "b" / ".dot.fits").write_bytes(b"x")
    (folder / "b" / "notes.txt").write_bytes(b"x")
    (folder / "a-b.cdf").write_bytes(b"x")
    return folder


def _copied(folder: Path, system: MemoryFileSystem, place: str = "/bucket/files") -> RemoteFolder:
    for path in folder.rglob("*"):
        if path.is_file():
            system.pipe_file(f"{place}/{path.relative_to(folder)}", path.read_bytes())
    return RemoteFolder(f"{system.protocol}:/{place}")


def test_files_elsewhere_are_found_by_the_rules_for_files_here(tmp_path: Path, store: _Store) -> None:
    here = _tree(tmp_path / "here")
    files, rejected = discover(here)
    expected = {name: str(path).replace(str(here), "") for name, path in files.items()}
    reasons = {(error.file.replace(str(here), ""), error.reason.replace(str(here), "")) for error in rejected}
    assert set(expected) == {FILE, "other.fit", "a-b.cdf"}
    assert len(reasons) == 5
    for root in (_copied(here, store), RemoteFolder(f"file://{here}")):
        files, rejected = discover(root)
        assert {name: str(file).replace(str(root), "") for name, file in files.items()} == expected
        assert {(e.file.replace(str(root), ""), e.reason.replace(str(root), "")) for e in rejected} == reasons
        assert [file.name for file in files.values()] == list(expected)


def test_a_request_a_folder_gives_all_that_is_to_be_known_of_files(tmp_path: Path, store: _Store) -> None:
    root = _copied(_tree(tmp_path / "here"), store)
    store.requests.clear()
    looked = Folder.look(root)
    assert sum(map(len, looked.observations)) == 3
    assert sorted(store.requests) == sorted(
        ("ls", f"/bucket/files{folder}") for folder in ("", "/a", "/a/deep", "/a/deep/deeper", "/b")
    )
    store.requests.clear()
    find_root(str(root))
    assert len(store.requests) == 1
    assert len(pickle.dumps([file for files in looked.observations for file in files])) < 1500


def test_links_are_looked_up_as_the_listing_does_not_tell_what_they_are(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    write_fits(tmp_path / FILE, level1(light(2)))
    (here / FILE).symlink_to(tmp_path / FILE)
    (here / "nothing.fits").symlink_to(tmp_path / "nothing")
    os.mkfifo(here / "pipe.fits")
    files, rejected = discover(RemoteFolder(f"file://{here}"))
    assert files[FILE].size == (tmp_path / FILE).stat().st_size
    assert set(files) == {FILE}
    assert {error.file: error.reason.partition(" (")[0] for error in rejected} == {
        "nothing.fits": "cannot be fetched",
        "pipe.fits": "not a regular file",
    }
    np.testing.assert_array_equal(read_observation(files[FILE]).flux, read_observation(tmp_path / FILE).flux)


def test_a_list_that_breaks_off_is_no_list(tmp_path: Path, store: _Store) -> None:
    root = _copied(_tree(tmp_path / "here"), store)
    store.failing["ls /bucket/files/b"] = ConnectionResetError("the line is dead")
    with pytest.raises(InputError, match=r"^teststore://bucket/files: cannot be listed \(the line is dead\)"):
        discover(root)
    store.failing["ls /bucket/files/b"] = PermissionError("Access Denied")
    files, rejected = discover(root)
    assert set(files) == {FILE, "other.fit", "a-b.cdf"}
    why = {error.file: error.reason for error in rejected}["b"]
    assert why == "the folder cannot be read (Access Denied), and no file in it is used; make it readable"


@pytest.fixture
def one(tmp_path: Path, store: _Store) -> RemoteFile:
    """A file in the store."""
    write_fits(tmp_path / FILE, level1(light(2)))
    store.pipe_file(f"/bucket/{FILE}", (tmp_path / FILE).read_bytes())
    return _only()


def _only() -> RemoteFile:
    (file,) = discover(RemoteFolder("teststore://bucket"))[0].values()
    assert isinstance(file, RemoteFile)
    return file


def test_a_version_is_told_equally_by_listing_and_by_request_and_changes_with_the_file(
    one: RemoteFile, store: _Store
) -> None:
    before = Fingerprint.of(one)
    assert before == Fingerprint.now(one) == Fingerprint.of(_only())
    assert before.size == len(store.cat_file(f"/bucket/{FILE}"))
    store.pipe_file(f"/bucket/{FILE}", store.cat_file(f"/bucket/{FILE}"))  # the same bytes again
    after = Fingerprint.of(_only())
    assert after != before
    assert after == Fingerprint.now(one)


def test_a_store_s_etag_tells_versions_and_its_times_do_to_the_second(one: RemoteFile, store: _Store) -> None:
    def version(**details: Any) -> Fingerprint:
        store.details |= details
        return Fingerprint.of(_only())

    time = datetime(2024, 5, 1, 12, 0, 7, 250_000, tzinfo=UTC)
    listed = version(ETag='"abc"', LastModified=time)
    assert listed.mtime_ns == 1_714_564_807 * 10**9
    assert 0 < listed.ctime_ns < 2**63
    asked = version(ETag="abc", LastModified=time.replace(microsecond=0))  # as the answer on a single file
    assert asked == listed
    assert version(ETag='"abd"').ctime_ns != listed.ctime_ns
    assert version(LastModified=time.replace(second=8)).mtime_ns == listed.mtime_ns + 10**9
    store.details.clear()
    naive = version(last_modified=time.replace(tzinfo=None))
    assert naive.mtime_ns == 1_714_564_807_250_000_000


def test_local_files_by_address_change_their_version_as_files_here_do(tmp_path: Path) -> None:
    root = RemoteFolder(f"file://{tmp_path}")
    write_fits(tmp_path / FILE, level1(light(2)))
    (file,) = discover(root)[0].values()
    before, status = Fingerprint.of(file), (tmp_path / FILE).stat()
    assert Fingerprint.now(file) == before
    assert before.mtime_ns == pytest.approx(status.st_mtime_ns, abs=1000)
    shutil.copy2(tmp_path / FILE, tmp_path / "copy")
    (tmp_path / "copy").replace(tmp_path / FILE)  # of equal size and modification time
    assert Fingerprint.now(file).mtime_ns == before.mtime_ns
    assert Fingerprint.now(file) != before


def test_a_file_is_fetched_as_a_whole_and_nothing_stays(
    one: RemoteFile, tmp_path: Path, store: _Store, temporary: Path
) -> None:
    seen, here = read_observation(one), read_observation(tmp_path / FILE)
    np.testing.assert_array_equal(seen.flux, here.flux)
    assert (seen.source, seen.start, seen.notes) == (here.source, here.start, here.notes)
    with one.fetched() as copy:
        assert not list(temporary.iterdir()), "a kill would leave it"
        assert os.fstat(copy.fileno()).st_size == one.size
    assert not list(temporary.iterdir())
    assert pickle.loads(pickle.dumps(one)) == one


def test_a_file_beyond_the_limit_is_not_fetched(
    one: RemoteFile, store: _Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "LARGEST_FETCHED", 1000)
    store.requests.clear()
    with pytest.raises(RejectedFileError, match=rf"{one.size} bytes, and files beyond 0 MB are not fetched") as caught:
        read_observation(one)
    assert not caught.value.transient
    assert not store.requests


def test_more_or_less_than_the_listing_says_is_not_read(one: RemoteFile) -> None:
    for size in (one.size - 1, one.size + 1):
        with pytest.raises(RejectedFileError, match=f"cannot be fetched .not the {size} bytes") as caught:
            read_observation(replace(one, size=size))
        assert caught.value.transient


def test_a_file_that_never_ends_fills_no_disk(one: RemoteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        given = 0

        def __enter__(self) -> "Endless":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def read(self, count: int) -> bytes:
            self.given += count
            return bytes(count)

    endless = Endless()
    monkeypatch.setattr(_Store, "_open", lambda *_, **__: endless)
    with pytest.raises(RejectedFileError, match="cannot be fetched"), one.fetched():
        pytest.fail("it was fetched")
    assert endless.given == one.size + 1


def test_a_file_that_changes_while_it_is_read_is_read_another_time(one: RemoteFile, store: _Store) -> None:
    version = Fingerprint.of(one)
    assert read_version(one, version).source == FILE
    store.pipe_file(f"/bucket/{FILE}", store.cat_file(f"/bucket/{FILE}"))
    with pytest.raises(RejectedFileError, match="was changed while it was read") as caught:
        read_version(one, version)
    assert caught.value.transient


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("no answer"),
        PermissionError("Access Denied"),
        FileNotFoundError("gone"),
        ValueError("what a library of a store raises"),
        RuntimeError("GET https://user:hunter2@host/x.fits?X-Amz-Signature=hunter2 failed"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("when", ["open", "info"])
def test_what_the_store_does_is_no_fault_of_the_file(
    one: RemoteFile, store: _Store, tmp_path: Path, when: str, error: Exception
) -> None:
    store.failing[f"{when} /bucket"] = error
    unread = read_into_shard([(one, Fingerprint.of(one))], tmp_path / "store")
    assert unread[FILE].startswith("cannot be fetched (")
    assert unread[FILE].endswith("); it is tried again next time")
    assert "hunter2" not in unread[FILE]
    assert not (tmp_path / "store").exists()


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in this process, where the store is."""

    def compute(work: Any, items: Any, sizes: int | list[int], *_: Any) -> Iterator[Any]:
        left = list(items)
        for size in [sizes] * len(left) if isinstance(sizes, int) else sizes:
            batch, left = left[:size], left[size:]
            if batch:
                yield work(batch)

    monkeypatch.setattr("asim_cvae.frames.build.map_batches", compute)
    monkeypatch.setattr("asim_cvae.triaging.running.map_batches", compute)


def _assert_equal(ours: FrameStore, theirs: FrameStore) -> None:
    assert ours.table.file.tolist() == theirs.table.file.tolist()
    np.testing.assert_array_equal(ours.frames(np.arange(len(ours))), theirs.frames(np.arange(len(theirs))))


def test_a_store_is_made_of_files_elsewhere_and_tries_again(
    tmp_path: Path, store: _Store, in_this_process: None
) -> None:
    here = _tree(tmp_path / "here")
    root = _copied(here, store)
    store.failing[f"open /bucket/files/a/deep/{FILE}"] = OSError("no route")
    report = build_store(tmp_path / "store", root)
    reasons = {rejected.file: rejected.reason for rejected in report.rejected}
    assert reasons[FILE] == "cannot be fetched (no route); it is tried again next time"
    assert set(reasons) > {"a-b.cdf"}
    store.failing.clear()
    assert build_store(tmp_path / "store", root).files_read == 1
    store.requests.clear()
    assert build_store(tmp_path / "store", root).files_read == 0
    assert {kind for kind, _ in store.requests} == {"ls"}
    build_store(tmp_path / "local", here)
    with FrameStore(tmp_path / "store") as ours, FrameStore(tmp_path / "local") as theirs:
        _assert_equal(ours, theirs)


def test_an_address_stands_as_it_is_in_a_plan_and_the_names_of_stores(tmp_path: Path, store: _Store) -> None:
    root = _copied(_tree(tmp_path / "here"), store)
    plan = make_plan(root, None, None)
    assert str(plan.files[FILE]) == f"{root}/a/deep/{FILE}"
    assert plan.versions[FILE] == Fingerprint.of(plan.files[FILE]) != NO_VERSION

    def store_of(address: str) -> Path:
        return MMIADataModule(LinearScaling(), root=address).store_path

    assert store_of("s3://bucket/files").name.startswith("files-")
    assert store_of("s3://bucket/files/") == store_of("s3://bucket/files") != store_of("s3://other/files")
    module = MMIADataModule(LinearScaling(), root="s3://bucket/files")
    assert (str(module.root), module._data_name()) == ("s3://bucket/files", "files")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("s4://bucket/x", "s4://...: no protocol that fsspec knows"),
        ("htps://host/x", "htps://...: no protocol that fsspec knows; did you mean https?"),
        ("simplecache::s3://bucket/x", "s3://...: chained addresses"),
        ("s3://bucket/x::memory://y", "s3://...: chained addresses"),
        ("s3://", "s3://: names no folder; give s3://PLACE/FOLDER"),
        ("sftp://me:hunter2@host/x", "sftp://...: passwords in addresses"),
        ("sftp://me:hun/ter2@host/x", "sftp://...: what is before the first slash is no host"),
        ("s3://key:hunter2@bucket/x", "s3://...: passwords in addresses"),
        ("https://hunter2@host/x", "https://...: passwords in addresses"),
        ("https://host/x?token=hunter2", "https://...: what follows a question mark may be a key"),
    ],
)
def test_addresses_that_are_not_read_are_refused_in_a_line_without_secrets(address: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        as_root(address)
    text = str(caught.value)
    assert text.startswith(why)
    assert "\n" not in text
    assert "hunter2" not in text
    assert "ter2" not in text


def test_addresses_that_are_read() -> None:
    for address in ("s3://bucket/a b/c", "sftp://me@host:22/x", "gs://bucket", "file:///data", "http://host:8000/x"):
        assert str(as_root(address)) == address
        assert str(as_root(f"{address}/")) == address
    assert as_root("here/there") == Path("here/there")
    assert as_root("~") == Path.home()
    assert [RemoteFolder(address).name for address in ("s3://bucket/a/b", "gs://bucket")] == ["b", "bucket"]


def test_secrets_are_taken_out_of_what_others_say() -> None:
    text = "403 for url 'https://me:pw@host/a.fits?X-Amz-Credential=key&sig=pw' (and ftp://u:pw@h/x)"
    assert without_secrets(text) == "403 for url 'https://host/a.fits?...' (and ftp://h/x)"
    assert without_secrets("me@host: what is it?") == "me@host: what is it?"


def test_a_root_that_cannot_be_used_is_told(
    tmp_path: Path, store: _Store, one: RemoteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(address: str) -> str:
        with pytest.raises(InputError) as caught:
            find_root(address)
        return str(caught.value)

    assert told("teststore://nowhere") == "teststore://nowhere: no such folder, or nothing is in it"
    assert told(f"teststore://bucket/{FILE}").endswith("is a file; give the folder that it is in")
    store.failing["info /bucket"] = RuntimeError("Unable to locate credentials")
    assert told("teststore://bucket") == "teststore://bucket: cannot be reached (Unable to locate credentials)"
    missing = {"protocol": "s3", "class": "no_such_package.System", "err": "Install s3fs to access S3"}
    registry = sys.modules["fsspec.registry"]
    monkeypatch.setitem(registry.known_implementations, "s3", missing)
    monkeypatch.delitem(registry._registry, "s3", raising=False)
    expected = "(Install s3fs to access S3); pip install '.[remote]' in a clone brings it"
    assert told("s3://bucket/x").endswith(expected)
    assert told(str(tmp_path / "nowhere")).endswith("no such folder; give one that holds MMIA files (.fits or .cdf)")


def test_no_address_is_looked_into_because_a_file_names_it(
    one: RemoteFile, store: _Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(tmp_path / FILE, tmp_path / "other.fits")
    store.requests.clear()
    found = find_files(["teststore://bucket", str(tmp_path)])
    assert found == {FILE: tmp_path / FILE, "other.fits": tmp_path / "other.fits"}
    assert not store.requests
    assert "review roots=[teststore://bucket] fetches them" in caplog.text
    found = find_files([str(tmp_path)], [RemoteFolder("teststore://bucket")])
    assert found == {FILE: one, "other.fits": tmp_path / "other.fits"}


def test_addresses_are_refused_where_a_folder_of_this_machine_is_meant() -> None:
    for command, name in (("simulate", "root"), ("triage", "out"), ("triage", "weights"), ("review", "folder")):
        section = declared_settings()[command]
        entries = {key: entry for key, entry in section.entries.items() if key == name}
        with pytest.raises(SettingError) as caught:
            check_config(replace(section, entries=entries), {name: "s3://key:hunter2@bucket/x"})
        assert str(caught.value).startswith(f"{name}=s3://bucket/x: has to be a ")
        assert "on this machine; addresses are for" in str(caught.value)


def test_simulated_archives_are_made_here_alone() -> None:
    simulation = {"_target_": "builtins.dict"}
    ground_truth = {"root": None, "table": None}
    data = {"root": "s3://bucket/x", "simulation": simulation, "ground_truth": ground_truth, "store": None}
    with pytest.raises(SettingError, match="simulated archives are made in folders here; for"):
        check_data(OmegaConf.create(data))
    with pytest.raises(SettingError, match=r"^data.root=s3://\.\.\.: passwords in addresses"):
        check_data(OmegaConf.create({**data, "root": "s3://a:b@c/x", "simulation": None}))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Two observations of a frame of the background, and a file that is broken."""
    root = tmp_path / "files"
    root.mkdir()
    for number in (77, 78):
        counts = np.random.default_rng(number).poisson(0.5, (3, 1, 8325))
        variables = level1((FLUX_PER_COUNT[:, None, None] * counts).astype(np.float32))
        write_fits(root / FILE.replace("77", str(number)), variables)
    (root / "broken.fits").write_bytes(b"SIMPLE  = nothing")
    return root


def _triaged(root: Root, out: Path) -> dict[str, Any]:
    """What a triage says of itself that works in this process, as memory is its own."""
    origin = Origin(SHIPPED / NEWEST / "model.safetensors", None, (), 0.5, ("elve",))
    (out / "shards").mkdir(parents=True, exist_ok=True)
    triage(root, Job(origin, Ledger(out, origin.identity())), 1, Filter(noise=True), 10, {})
    told: dict[str, Any] = json.loads((out / "provenance.json").read_text())
    return told


def test_triage_gives_the_same_wherever_files_are_and_judges_what_is_new(
    here: Path, tmp_path: Path, store: _Store, in_this_process: None, temporary: Path
) -> None:
    local, elsewhere = tmp_path / "local", tmp_path / "elsewhere"
    expected = _triaged(here, local)["digest"]
    root = _copied(here, store)
    store.failing["open /bucket/files/broken"] = TimeoutError("no answer")
    assert _triaged(root, elsewhere)["digest"] == expected
    assert "broken.fits,cannot be fetched (no answer)" in (elsewhere / "rejected.csv").read_text()
    store.failing.clear()
    store.requests.clear()
    assert _triaged(root, elsewhere)["digest"] == expected
    assert {path for kind, path in store.requests if kind == "open"} == {"/bucket/files/broken.fits"}
    for name in ("observations.csv", "frames.csv", "pulses.csv", "rejected.csv"):
        assert (elsewhere / name).read_bytes() == (local / name).read_bytes()
    store.pipe_file(f"/bucket/files/{FILE}", (here / FILE).read_bytes())
    store.requests.clear()
    assert _triaged(root, elsewhere)["digest"] == expected
    assert {path for kind, path in store.requests if kind == "open"} == {f"/bucket/files/{FILE}"}
    assert not list(temporary.iterdir())


def test_the_command_triages_an_address(run: Run, here: Path, tmp_path: Path, temporary: Path) -> None:
    out = tmp_path / "out"
    done = run("triage", f"root=file://{here}/", f"out={out}", "filter.noise=true", "file_workers=1", "pictures=1")
    told = json.loads((out / "provenance.json").read_text())
    assert told["roots"] == [f"file://{here}"]
    with (out / "observations.csv").open(newline="") as stream:
        assert {row["file"] for row in csv.DictReader(stream)} == {path.name for path in here.glob("mmia*")}
    assert "not looked into" not in done.stdout + done.stderr
    assert (out / "page.html").is_file()
    assert (out / "top.png").stat().st_size > 10_000
    assert not [path for path in temporary.rglob("*.fits*") if path.is_file()]


def test_the_command_prepares_an_address(run: Run, here: Path, tmp_path: Path, in_this_process: None) -> None:
    run("prepare", "data=mmia", f"data.root=file://{here}", f"data.store={tmp_path / 'store'}", "data.file_workers=1")
    build_store(tmp_path / "local", here)
    with FrameStore(tmp_path / "store") as ours, FrameStore(tmp_path / "local") as theirs:
        _assert_equal(ours, theirs)
    report = build_store(tmp_path / "store", RemoteFolder(f"file://{here}"))
    assert (report.is_new, report.files_read) == (False, 0)
    shutil.copy(here / FILE, here / "copy")
    (here / "copy").replace(here / FILE)
    assert build_store(tmp_path / "store", RemoteFolder(f"file://{here}")).files_read == 1


def test_a_root_that_is_not_there_is_a_mistake_in_a_setting(tmp_path: Path) -> None:
    nowhere = f"file://{tmp_path}/nowhere"
    data = {"root": nowhere, "simulation": None, "ground_truth": {"root": None, "table": None}, "store": None}
    review = {"reviewer": "anna", "events": None, "roots": [nowhere]}
    checks = (
        (check_triage, "root=", {"root": nowhere}),
        (check_data, "data.root=", data),
        (check_review, "roots=[", review),
    )
    for check, name, config in checks:
        with pytest.raises(SettingError) as caught:
            check(OmegaConf.create(config))
        assert str(caught.value).startswith(f"{name}{nowhere}: no such folder, or nothing is in it")


class _AnswerOfS3Error(Exception):
    def __init__(self, code: str) -> None:
        self.response = {"Error": {"Code": code}}


class _AnswerOfWebError(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


@pytest.mark.parametrize(
    ("error", "cause", "is_refused"),
    [
        (PermissionError(), None, True),
        (FileNotFoundError(), None, True),
        (TimeoutError(), None, False),
        (PermissionError(), _AnswerOfS3Error("AccessDenied"), True),
        (PermissionError(), _AnswerOfS3Error("ExpiredToken"), False),
        (_AnswerOfWebError(403), None, True),
        (_AnswerOfWebError(503), None, False),
    ],
)
def test_a_list_with_a_hole_is_no_list(
    error: Exception, cause: Exception | None, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = MemoryFileSystem()
    memory.pipe_file("/holes/a/x.fits", b"SIMPLE  =")
    memory.pipe_file("/holes/y.fits", b"SIMPLE  =")
    error.__cause__ = cause
    listed = MemoryFileSystem.ls

    def ls(system: MemoryFileSystem, path: str, detail: bool = True, **how: Any) -> list:
        if path.endswith("/a"):
            raise error
        return listed(system, path, detail, **how)

    monkeypatch.setattr(MemoryFileSystem, "ls", ls)
    try:
        if is_refused:
            files, rejected = discover(as_root("memory://holes"))
            assert list(files) == ["y.fits"]
            assert "the folder cannot be read" in rejected[0].reason
        else:
            with pytest.raises(InputError, match="memory://holes: cannot be listed"):
                discover(as_root("memory://holes"))
    finally:
        memory.rm("/holes", recursive=True)


def test_s3_is_read_as_a_server_of_it_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    servers = pytest.importorskip("moto.server")
    server = servers.ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")):
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{host}:{port}"})
    try:
        here = _tree(tmp_path / "here")
        system = fsspec.filesystem("s3")
        system.mkdir("bucket")
        for path in here.rglob("mmia*.fits"):
            system.pipe_file(f"bucket/files/{path.relative_to(here)}", path.read_bytes())
        root = find_root("s3://bucket/files")
        file = discover(root)[0][FILE]
        observation = read_version(file, Fingerprint.of(file))
        np.testing.assert_array_equal(observation.flux, read_observation(here / "a" / "deep" / FILE).flux)
        system.pipe_file(f"bucket/files/a/deep/{FILE}", (here / "a" / FILE).read_bytes() + bytes(2880))
        with pytest.raises(RejectedFileError, match=r"cannot be fetched|was changed"):
            read_version(file, Fingerprint.of(file))
    finally:
        server.stop()
        sys.stdout.flush()
