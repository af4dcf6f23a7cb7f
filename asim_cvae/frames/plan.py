"""What a store is to hold: the files of the folders, their labels, and what is scored on."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from asim_cvae.archive.discover import discover
from asim_cvae.archive.labels import LabelTable, read_labels
from asim_cvae.archive.layout import FileName
from asim_cvae.base.errors import InputError, first_line
from asim_cvae.frames.hdf import FORMAT
from asim_cvae.frames.shards import Fingerprint
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.frames.tables import Tables
from asim_cvae.instrument.observation import RejectedFileError


@dataclass(frozen=True)
class Plan:
    """Contents that a store should have.

    Attributes:
        files: path of each file to read, by base name.
        versions: version of each of them.
        rejected: reason of each file that is rejected without being read, by its name or path.
        labels: label of each labelled frame, by file name and frame number.
        ground_truth: names of the files to score on, which are kept out of training.
        label_problems: a line for each row of the label table that was ignored.
    """

    files: Mapping[str, Path]
    versions: Mapping[str, Fingerprint]
    rejected: Mapping[str, str]
    labels: Mapping[tuple[str, int], str]
    ground_truth: frozenset[str]
    label_problems: Sequence[str]

    @cached_property
    def digest(self) -> str:
        """Digest of all that a store depends on; equal digests mean equal stores."""
        content = [
            FORMAT,
            sorted(self.versions.items()),
            sorted(self.rejected.items()),
            sorted((*place, label) for place, label in self.labels.items()),
            sorted(self.ground_truth),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def is_ground_truth(self, tables: Tables) -> list[bool]:
        """Whether each observation is to be scored on.

        All files of a ground-truth observation are: its other level, and its other format if the label table names the
        FITS file and the archive holds the CDF file.
        """
        files, keys = (tables.observations[name].tolist() for name in ("file", "key"))
        named = {name.key for file in self.ground_truth if (name := FileName.parse(file))}
        named |= {key for file, key in zip(files, keys, strict=True) if file in self.ground_truth}
        return [key in named for key in keys]

    def labels_of(self, tables: Tables) -> list[str]:
        """The label of each frame, '' where there is none."""
        places = zip(tables.file.tolist(), tables.frame.tolist(), strict=True)
        return [self.labels.get(place, "") for place in places]

    def unplaced_labels(self, tables: Tables) -> Iterator[str]:
        """Yield a line for each label whose frame is not in the store, and one for all labels of a missing file."""
        samples = dict(zip(*(tables.observations[name].tolist() for name in ("file", "samples")), strict=True))
        reasons = dict(zip(*(tables.rejected[name].tolist() for name in ("file", "reason")), strict=True))
        files = tables.observations["file"][tables.excluded["observation"]].tolist()
        excluded = dict(
            zip(
                zip(files, tables.excluded["frame"].tolist(), strict=True),
                tables.excluded["reason"].tolist(),
                strict=True,
            )
        )
        missing: dict[str, int] = {}
        for (file, frame), label in self.labels.items():
            if file not in samples:
                missing[file] = missing.get(file, 0) + 1
            elif (file, frame) in excluded:
                yield f"{label} on frame {frame} of {file}: it {excluded[file, frame]}"
            elif frame >= (held := samples[file] // FRAME_SAMPLES):
                yield f"{label} on frame {frame} of {file}: the file holds frames 0 to {held - 1}"
        for file, count in missing.items():
            why = f"rejected, {reasons[file]}" if file in reasons else "not in the archive"
            yield f"{count} frame(s) of {file}: {why}"


def make_plan(root: Path | None, ground_truth_root: Path | None, table: Path | None) -> Plan:
    """Look at the folders and the label table; see :func:`asim_cvae.frames.build.build_store`."""
    folders = [folder for folder in (root, ground_truth_root) if folder is not None]
    if not folders:
        raise InputError("no data: give data.root=FOLDER, or data.ground_truth.root=FOLDER to score alone")
    none: tuple[dict[str, Path], list[RejectedFileError]] = ({}, [])
    pool, pool_rejected = discover(root) if root else none
    scored, scored_rejected = discover(ground_truth_root) if ground_truth_root else none
    labels = LabelTable({}) if table is None else read_labels(table)
    ground_truth = frozenset(scored) if table is None else labels.files
    if table is None and pool and set(scored) >= set(pool):
        raise InputError(
            f"{ground_truth_root}: holds every file of data.root, which leaves none to train on; "
            "give data.ground_truth.table, or data.ground_truth.root another folder"
        )
    files = pool | {name: path for name, path in scored.items() if name in ground_truth}
    if not files:
        raise InputError(f"{', '.join(map(str, folders))}: no MMIA file (.fits or .cdf) to use")
    rejected = {error.file: error.reason for error in (*pool_rejected, *scored_rejected)}
    versions = {}
    for name, path in files.items():
        try:
            versions[name] = Fingerprint.of(path)
        except OSError as error:
            rejected[name] = f"cannot be read ({first_line(error)})"
    found = {name: files[name] for name in versions}
    return Plan(found, versions, rejected, labels.labels, ground_truth, labels.problems)
