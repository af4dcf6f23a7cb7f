"""Observations of a triage, found again: what the ledger tells of them, and their light curves from the files."""

import base64
import hashlib
import logging
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asim_cvae.archive.discover import discover
from asim_cvae.archive.reader import read_observation
from asim_cvae.archive.remote import Place, Root
from asim_cvae.base.files import file_digest
from asim_cvae.inference import Model, load
from asim_cvae.instrument.observation import Observation, RejectedFileError
from asim_cvae.instrument.photometers import flux_to_counts
from asim_cvae.labelling.queue import read_frames
from asim_cvae.labelling.suggesting import COLUMNS, Suggestion, suggest
from asim_cvae.reviewing.curves import pack_counts, pack_rates, whole_frames
from asim_cvae.reviewing.records import Record, read_records
from asim_cvae.triaging.gathering import files_that_count
from asim_cvae.triaging.ledger import Ledger, read_provenance

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shelf:
    """The observations of a triage.

    Attributes:
        ledger: of the triage.
        paths: of the files that are still there, by name.
        model_digest: hexadecimal digest of the weights that judged the frames.
        model: reconstructs frames; None: there are no reconstructions.
    """

    ledger: Ledger
    paths: Mapping[str, Place]
    model_digest: str
    model: Model | None
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, folder: Path, paths: Mapping[str, Place] | None = None, trust: Collection[str] = ()) -> "Shelf":
        """Open a folder of triage.

        Args:
            folder: the folder.
            paths: of its files, by name; None: those in the folders of this machine that the triage was called with.
            trust: packages of your own whose classes the model may name.

        Raises:
            InputError: it holds no triage, or a damaged one.
        """
        provenance = read_provenance(folder)
        ledger, weights = Ledger(folder, provenance.origin), Path(provenance.weights)
        paths = find_files(provenance.roots) if paths is None else paths
        return cls(ledger, paths, _digests(ledger).get(weights.name, ""), _load(weights, ledger, trust))

    @property
    def name(self) -> str:
        """Tells this triage from others, so that browsers keep their labels apart."""
        text = f"{self.ledger.folder.resolve()} {self.model_digest}"
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]

    def entries(self, files: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield what the page needs of observations, in the order of their files, with their light curves.

        ``curves`` is missing where the file is no longer there, is another one now, or cannot be read; what the ledger
        does not know is left out.
        """
        records = read_records(self.ledger, files)
        for file in files:
            if file in records:
                yield self._entry(records[file])

    def _entry(self, record: Record) -> dict[str, Any]:
        entry = {**record.summary, "frames": record.frames, "pulses": record.pulses}
        if record.file in self.paths:
            with suppress(RejectedFileError):
                observation = read_observation(self.paths[record.file])
                if record.agrees_with(observation):
                    entry["curves"] = self._curves(observation, record)
        return entry

    def _curves(self, observation: Observation, record: Record) -> dict[str, Any]:
        packed = pack_counts(observation)
        rows = zip(observation.row_sample.tolist(), observation.row_start, strict=True)
        curves = {
            **packed.head,
            "rows": [[sample, f"{start.astype('M8[us]')}Z"] for sample, start in rows if not np.isnat(start)],
            "counts": in_letters(packed.counts),
            "simulated": bool(observation.simulator),
        }
        if self.model is not None and record.judged:
            with self._one_at_a_time:  # a server asks from several threads
                flux = self.model.reconstruct(whole_frames(observation, record.judged))
            rates = np.stack([flux_to_counts(frame, observation.flux_per_count) for frame in flux])
            curves["rates"] = in_letters(pack_rates(rates))
        return curves

    @cached_property
    def _frames(self) -> pa.Table | None:
        """Frames of the files that are still there; None without any."""
        if not len(files_that_count(self.ledger).files):
            return None
        frames = read_frames(self.ledger, COLUMNS)
        return frames.filter(pc.is_in(frames["file"], pa.array(self.paths, pa.string())))

    def suggested(self, labelled: Collection[tuple[str, int]], count: int) -> list[Suggestion]:
        """Suggest ``count`` frames to label of those that are not labelled, of files that are still there."""
        return [] if self._frames is None else suggest(self._frames, labelled, count, seed=0)


def find_files(noted: Sequence[str], given: Sequence[Root] = ()) -> dict[str, Place]:
    """Find files by name: in folders that the triage has noted, and in those that the user gives, which come first.

    Nothing is fetched from an address because a file says so: whoever made that file chose the address.

    Raises:
        InputError: a folder that is given is not there.
    """
    paths: dict[str, Place] = {}
    for root in (one for one in noted if one not in map(str, given)):
        if "://" in root:
            log.warning("%s: its light curves are left out; review roots=[%s] fetches them", root, root)
        elif Path(root).is_dir():
            paths.update(discover(Path(root))[0])
        elif not given:
            log.warning("%s: no such folder any more; give roots=[FOLDER] where its files are now", root)
    for place in given:
        paths.update(discover(place)[0])
    return paths


def _digests(ledger: Ledger) -> dict[str, str]:
    """Digests of the files of the model, by name."""
    files = ledger.identity.get("files")
    return (
        {name: digest for name, digest in files.items() if isinstance(digest, str)} if isinstance(files, dict) else {}
    )


def _load(path: Path, ledger: Ledger, trust: Collection[str]) -> Model | None:
    """Return the model that judged the frames; None if its file is gone, or holds another one."""
    if path.is_file() and file_digest(path) == _digests(ledger).get(path.name):
        return load(path, trust)
    log.warning("%s: no longer the weights that judged these frames; reconstructions are left out", path)
    return None


def in_letters(blob: bytes) -> str:
    """Return bytes as text, in base64."""
    return base64.b64encode(blob).decode()
