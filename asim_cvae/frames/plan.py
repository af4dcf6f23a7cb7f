"""What a store is to hold: the files of the folders, their labels, and what is scored on."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from asim_cvae.archive.discover import discover
from asim_cvae.archive.labels import LabelTable, LabelTableError, no_usable_label, note_choice
from asim_cvae.archive.layout import observation_key, preference
from asim_cvae.archive.matching import match_files
from asim_cvae.archive.remote import Place, Root
from asim_cvae.archive.reviews import read_agreed
from asim_cvae.base.errors import InputError, Problems, printable
from asim_cvae.frames.hdf import FORMAT
from asim_cvae.frames.shards import Fingerprint
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.frames.tables import Tables
from asim_cvae.instrument.observation import RejectedFileError


@dataclass(frozen=True)
class Plan:
    """Contents that a store should have.

    Attributes:
        files: place of each file to read, by base name.
        versions: version of each of them.
        observations: names of the files of each observation, that to be used first. A file counts only where those
            before it give no observation.
        rejected: reason of each file that is rejected without being read, by its name or path.
        labels: label of each labelled frame, by frame number and the name of a file of the observation.
        ground_truth: names of the files to score on, which are kept out of training.
        label_problems: a line for each row of the label table that was ignored, or a count where there are many.
        label_table: path of the label table, None if there is none.
        chosen: how each labelled frame was chosen, where the label table says so.
    """

    files: Mapping[str, Place]
    versions: Mapping[str, Fingerprint]
    observations: Sequence[Sequence[str]]
    rejected: Mapping[str, str]
    labels: Mapping[tuple[str, int], str]
    ground_truth: frozenset[str]
    label_problems: Sequence[str]
    label_table: Path | None = None
    chosen: Mapping[tuple[str, int], str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Digest of all that a store depends on; equal digests mean equal stores."""
        content = [
            FORMAT,
            sorted(self.versions.items()),
            self.observations,
            sorted(self.rejected.items()),
            sorted((*place, label) for place, label in self.labels.items()),
            sorted(self.ground_truth),
            *sorted((*place, way) for place, way in self.chosen.items()),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def is_ground_truth(self, tables: Tables) -> list[bool]:
        """Whether each observation is to be scored on.

        All files of a ground-truth observation are: its other level, and its other format if the label table names the
        FITS file and the archive holds the CDF file.
        """
        files, keys = (tables.observations[name].tolist() for name in ("file", "key"))
        named = {observation_key(file) for file in self.ground_truth}
        named |= {key for file, key in zip(files, keys, strict=True) if observation_key(file) in named}
        return [key in named for key in keys]

    def labels_of(self, tables: Tables) -> list[str]:
        """The label of each frame, '' where there is none."""
        return _of_frames(tables, self._placed(tables, self.labels))

    def chosen_of(self, tables: Tables) -> list[str]:
        """How each frame was chosen, '' where the labels do not say it."""
        return _of_frames(tables, self._placed(tables, self.chosen))

    def _placed(self, tables: Tables, values: Mapping[tuple[str, int], str]) -> dict[tuple[str, int], str]:
        """Values of frames by the file that is used of each observation, where one is."""
        used = {observation_key(file): file for file in tables.observations["file"].tolist()}
        return {(used.get(observation_key(file), file), frame): value for (file, frame), value in values.items()}

    def check_labels(self, tables: Tables) -> None:
        """Look whether the labels are those of the store's frames.

        Raises:
            LabelTableError: no label has a frame in the store, or the frame numbers start at 1.
        """
        if self.label_table is None:
            return
        held = self._frames_held(tables)
        placed = {(file, frame) for file, frame in self._placed(tables, self.labels) if file in held}
        files = {file for file, _ in placed}
        past = {file for file, frame in placed if frame == held[file]}
        starts_at_one = all(frame > 0 for _, frame in self.labels)
        if starts_at_one and past and (len(past) > 1 or 2 * len(past) >= len(files)):
            raise LabelTableError(
                f"{self.label_table}: its frame numbers seem to be one-based: none is 0, and in {len(past)} of "
                f"{len(files)} files one is just past the last frame; subtract 1 from all frame numbers"
            )
        if not any(self.labels_of(tables)):
            raise no_usable_label(self.label_table, [*self.unplaced_labels(tables), *self.label_problems])

    def unplaced_labels(self, tables: Tables) -> Iterator[str]:
        """Yield a line for each label whose frame is not in the store, and one for all labels of a missing file.

        Where there are many for one reason, the first are followed by a count.
        """
        held = self._frames_held(tables)
        reasons = dict(zip(*(tables.rejected[name].tolist() for name in ("file", "reason")), strict=True))
        files = tables.observations["file"][tables.excluded["observation"]].tolist()
        excluded = dict(
            zip(
                zip(files, tables.excluded["frame"].tolist(), strict=True),
                tables.excluded["reason"].tolist(),
                strict=True,
            )
        )
        problems, labels = Problems(), self._placed(tables, self.labels)
        for (file, frame), label in labels.items():
            place = f"{label} on frame {frame} of {printable(file, 160)}"
            if file not in held:
                continue
            if (file, frame) in excluded:
                problems.add("frames that are excluded", f"{place}: it {excluded[file, frame]}")
            elif frame >= held[file]:
                problems.add("frames past the end", f"{place}: the file holds frames 0 to {held[file] - 1}")
        yield from problems.lines()
        yield from _missing_files(labels, held, reasons)

    def _frames_held(self, tables: Tables) -> dict[str, int]:
        """Number of frames of each file in the store, with those that are excluded."""
        files, samples = (tables.observations[name].tolist() for name in ("file", "samples"))
        return {file: count // FRAME_SAMPLES for file, count in zip(files, samples, strict=True)}


def make_plan(root: Root | None, ground_truth_root: Root | None, table: Path | None) -> Plan:
    """Look at the folders and the label table; see :func:`asim_cvae.frames.build.build_store`."""
    folders = [folder for folder in (root, ground_truth_root) if folder is not None]
    if not folders:
        raise InputError("no data: give data.root=FOLDER, or data.ground_truth.root=FOLDER to score alone")
    none: tuple[dict[str, Place], list[RejectedFileError]] = ({}, [])
    pool, pool_rejected = discover(root) if root else none
    scored, scored_rejected = discover(ground_truth_root) if ground_truth_root else none
    labels = LabelTable({}) if table is None else _of_files(read_agreed(table), {*pool, *scored})
    ground_truth = frozenset(scored) if table is None else labels.files
    if table is None and pool and set(scored) >= set(pool):
        raise InputError(
            f"{ground_truth_root}: holds every file of data.root, which leaves none to train on; "
            "give data.ground_truth.table, or data.ground_truth.root another folder"
        )
    if table is not None and not any(file in pool or file in scored for file, _ in labels.labels):
        raise no_usable_label(table, [*labels.problems, *_missing_files(labels.labels)])  # before hours of reading
    wanted = {observation_key(file) for file in ground_truth}
    files = pool | {name: path for name, path in scored.items() if observation_key(name) in wanted}
    rejected = {error.file: error.reason for error in (*pool_rejected, *scored_rejected)}
    if not files:
        why = next((f"; {file}: {reason}" for file, reason in rejected.items()), "")
        raise InputError(f"{', '.join(map(str, folders))}: no MMIA file (.fits or .cdf) to use{why}")
    versions = {}
    for name, path in files.items():
        try:
            versions[name] = Fingerprint.of(path)
        except RejectedFileError as error:
            rejected[name] = error.reason
        except OSError as error:
            rejected[name] = f"cannot be read ({error.strerror})"
    found = {name: files[name] for name in versions}
    same = _same_observation(found)
    return Plan(found, versions, same, rejected, labels.labels, ground_truth, labels.problems, table, labels.chosen)


def _of_frames(tables: Tables, values: Mapping[tuple[str, int], str]) -> list[str]:
    """The value of each frame, '' where there is none."""
    return [values.get(place, "") for place in zip(tables.file.tolist(), tables.frame.tolist(), strict=True)]


def _same_observation(files: Iterable[str]) -> list[list[str]]:
    """The files of each observation, that to be used first."""
    same: dict[str, list[str]] = {}
    for name in sorted(files, key=preference):
        same.setdefault(observation_key(name), []).append(name)
    return [same[key] for key in sorted(same)]


def _missing_files(
    labels: Mapping[tuple[str, int], str], held: Collection[str] = (), reasons: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Yield a line for each file with labels that is not among those ``held``; ``reasons`` are those of rejections."""
    problems = Problems()
    for file, count in Counter(file for file, _ in labels if file not in held).items():
        place = f"{count} frame(s) of {printable(file, 160)}"
        if reasons and file in reasons:
            problems.add("files that are rejected", f"{place}: rejected, {reasons[file]}")
        else:
            problems.add("files that are not in the archive", f"{place}: not in the archive")
    return problems.lines()


def _of_files(table: LabelTable, files: Set[str]) -> LabelTable:
    """The label table with names of ``files`` in place of what stands in it, one an observation.

    A name that matches none stays.
    """
    matches = match_files(sorted(table.files), files)
    found = {name: matches.files.get(name, name) for name in table.files}
    first = {observation_key(file): file for file in sorted(found.values(), key=preference, reverse=True)}
    labels: dict[tuple[str, int], str] = {}
    chosen: dict[tuple[str, int], str] = {}
    problems = Problems()
    for (name, frame), label in table.labels.items():
        place = f"{label} on frame {frame} of {printable(name, 160)}"
        file = first[observation_key(found[name])]
        if name in matches.ambiguous:
            problems.add("names that fit several observations", f"{place}: {matches.ambiguous[name]}")
        elif (earlier := labels.setdefault((file, frame), label)) != label:
            problems.add("labels that contradict others", f"{place}: {earlier} under another name of the observation")
        elif (name, frame) in table.chosen:
            note_choice(chosen, (file, frame), table.chosen[name, frame])
    return LabelTable(labels, frozenset(first.values()), (*table.problems, *problems.lines()), chosen)
