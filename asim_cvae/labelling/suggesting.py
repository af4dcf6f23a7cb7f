"""Suggest which frames to label next: some teach the heads most, the others are a random sample of observations.

A promise (:mod:`asim_cvae.recognition.promise`) needs a random sample of observations, as the frames of one are alike,
and labels on all of their frames, as the event frame that would be lost first must not be missing. So chance draws
whole observations, not single frames. Each observation has a place in a random sequence, which is a hash of its name
and the seed: it stays the same however often one asks, whatever was labelled meanwhile, and as the folder grows. Those
that are drawn are always the first ones of the sequence, so that no label decides which they are. An observation that
a list ends within goes on in the next one.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from asim_cvae.archive.labels import RANDOM
from asim_cvae.archive.layout import observation_key

COLUMNS = ("file", "observation_id", "frame", "gap", "margin", "interest", "description")
"""Columns of a ledger's frames by which frames are suggested."""

MARGIN, ANOMALY = "margin", "anomaly"

TURNS = (MARGIN, RANDOM, MARGIN, ANOMALY)
"""The ways of choosing frames take turns, so that any beginning of a list has about their shares."""

_CANDIDATES = 10
"""Least certain frames among which one is chosen."""

_TINY = 1e-9

_Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Suggestion:
    """A frame to label.

    Attributes:
        file: name of the file.
        observation_id: MMIA's number of the observation, 0 if unknown.
        frame: number of the frame.
        chosen: how it was chosen, one of :data:`asim_cvae.archive.labels.WAYS`.
    """

    file: str
    observation_id: int
    frame: int
    chosen: str


def suggest(
    frames: pa.Table, labelled: Collection[tuple[str, int]], count: int, seed: int, turns: Sequence[str] = TURNS
) -> list[Suggestion]:
    """Suggest frames to label next, in the order in which to label them.

    - *anomaly*, a quarter: the most interesting frames, one an observation.
    - *margin*, half of them: classes are nearly as likely. Among the least certain frames of other observations, one an
      observation and ten for each that is wanted, those are chosen that are unlike each other: seeds of k-means++
      (Arthur and Vassilvitskii 2007) on the standardised descriptions.
    - *random*, a quarter: all whole frames of observations, in the random sequence of the seed.

    Where no frame has a margin, or an interest, the other ways take the turns of that one. Chance takes what others
    leave. These never take the last frame of an observation without a label: once chance draws it, a frame has to say
    so, else observations that were labelled before would be missing in the sample. The list does not depend on the
    order of the rows.

    Args:
        frames: frames of a ledger with ``COLUMNS``; those that touch a gap are not suggested.
        labelled: files and numbers of the frames that have labels, which are not suggested.
        count: number of frames to suggest; there are fewer where fewer are left.
        seed: of the random sequence and of k-means++.
        turns: ways of choosing frames, one after the other, and again from the first.
    """
    pool = _Pool.of(frames, labelled)
    turns = [way for way in turns if pool.knows(way)] or [RANDOM]
    count = min(count, len(pool.unlabelled))
    wanted = Counter(islice(cycle(turns), count))
    sequence = pool.sequence(seed)
    left = pool.without_last(pool.others(pool.unlabelled, sequence[: wanted[RANDOM]]))
    odd = pool.lowest(left, -pool.interest)[: wanted[ANOMALY]]
    uncertain = pool.uncertain(pool.others(left, odd), wanted[MARGIN], seed)
    taken = np.concatenate([odd, uncertain])
    drawn = sequence[~np.isin(sequence, taken)][: count - len(taken)]
    order = _in_turns({MARGIN: uncertain, ANOMALY: odd, RANDOM: drawn}, turns)
    return [Suggestion(*pool.place(row), way) for row, way in order]


@dataclass(frozen=True)
class _Pool:
    """N whole frames, sorted by file and number.

    Attributes:
        frames: the frames.
        files: names of the n files, one an observation.
        observation: (N,) which of them each frame is of.
        margin, interest: (N,) columns of the frames; NaN where they are missing.
        unlabelled: rows without a label, ascending.
    """

    frames: pa.Table
    files: Sequence[str]
    observation: NDArray[np.int64]
    margin: NDArray[np.float64]
    interest: NDArray[np.float64]
    unlabelled: _Rows

    @classmethod
    def of(cls, frames: pa.Table, labelled: Collection[tuple[str, int]]) -> "_Pool":
        whole = frames.select(COLUMNS).filter(pc.invert(frames["gap"]))
        whole = whole.sort_by([("file", "ascending"), ("frame", "ascending")]).combine_chunks()
        files, observation = np.unique(whole["file"].to_numpy(), return_inverse=True)
        places, done = zip(whole["file"].to_pylist(), whole["frame"].to_pylist(), strict=True), set(labelled)
        margin, interest = (whole[name].to_numpy().astype(np.float64) for name in ("margin", "interest"))
        unlabelled = np.flatnonzero([place not in done for place in places])
        return cls(whole, files.tolist(), observation, margin, interest, unlabelled)

    def knows(self, way: str) -> bool:
        """Whether a way can choose any frame."""
        values = {MARGIN: self.margin, ANOMALY: self.interest}.get(way)
        return values is None or bool(np.isfinite(values).any())

    def sequence(self, seed: int) -> _Rows:
        """Rows without a label in the random sequence of their observations, in each by number."""
        hashes = [hashlib.sha256(f"{seed} {observation_key(file)}".encode()).digest() for file in self.files]
        place = np.empty(len(hashes), dtype=np.int64)
        place[sorted(range(len(hashes)), key=hashes.__getitem__)] = np.arange(len(hashes))
        return self.unlabelled[np.argsort(place[self.observation[self.unlabelled]], kind="stable")]

    def others(self, rows: _Rows, taken: _Rows) -> _Rows:
        """Those of some rows that are of other observations than those taken."""
        return rows[~np.isin(self.observation[rows], self.observation[taken])]

    def without_last(self, rows: _Rows) -> _Rows:
        """Those of some rows whose observation has another frame without a label."""
        frames_of = np.bincount(self.observation[self.unlabelled], minlength=len(self.files))
        return rows[frames_of[self.observation[rows]] > 1]

    def lowest(self, rows: _Rows, values: NDArray[np.float64]) -> _Rows:
        """The row of each observation with the lowest value, the lowest of all first; none where it is missing."""
        ascending = rows[np.argsort(values[rows], kind="stable")]
        ascending = ascending[np.isfinite(values[ascending])]
        first = np.unique(self.observation[ascending], return_index=True)[1]
        return ascending[np.sort(first)]

    def uncertain(self, rows: _Rows, count: int, seed: int) -> _Rows:
        """The least certain of some rows that are unlike each other."""
        candidates = self.lowest(rows, self.margin)[: _CANDIDATES * count]
        if not candidates.size:
            return candidates
        described = np.array(self.frames["description"].take(candidates).to_pylist(), dtype=np.float64)
        return candidates[_spread(described, count, np.random.default_rng(seed))]

    def place(self, row: int) -> tuple[str, int, int]:
        """File, number of the observation and number of a frame."""
        file, observation_id, frame = (self.frames[name][row].as_py() for name in COLUMNS[:3])
        return file, observation_id, frame


def _spread(vectors: NDArray[np.float64], count: int, rng: np.random.Generator) -> _Rows:
    """Choose vectors of (n, D) by chance, in proportion to the square of their distance from those that are chosen."""
    scaled = vectors / np.maximum(vectors.std(0), _TINY)
    chosen: list[int] = []
    weight, distance = np.ones(len(vectors)), np.full(len(vectors), np.inf)
    for _ in range(min(count, len(vectors))):
        chosen.append(int(rng.choice(len(vectors), p=weight / weight.sum())))
        distance = np.minimum(distance, ((scaled - scaled[chosen[-1]]) ** 2).sum(1))
        weight = np.maximum(distance, _TINY)  # of vectors that are the same, each can be chosen
        weight[chosen] = 0
    return np.array(chosen, dtype=np.int64)


def _in_turns(rows: Mapping[str, _Rows], turns: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield rows with the ways in which they were chosen, way after way; chance stands in where another has none."""
    left = {way: iter(each.tolist()) for way, each in rows.items()}
    for turn in islice(cycle(turns), sum(map(len, rows.values()))):
        for way in (turn, RANDOM):
            if (row := next(left[way], None)) is not None:
                yield row, way
                break
