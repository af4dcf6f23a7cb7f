"""Score heads that were fitted to labelled frames, where frames are labelled in one order or another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.labels import RANDOM
from asim_cvae.base.errors import InputError
from asim_cvae.instrument.classes import CLASSES, NOISE
from asim_cvae.labelling.suggesting import ANOMALY, MARGIN, TURNS, suggest
from asim_cvae.recognition.heads import TrainedHeads
from asim_cvae.recognition.labelled_by import LabelledBy
from asim_cvae.recognition.refitting import refit_seen
from asim_cvae.recognition.scores import score_classes
from asim_cvae.studies.triage.label_sets import Pool, SeenFrames, class_logits, class_probability


@dataclass(frozen=True)
class Order:
    """An order in which frames are suggested.

    Attributes:
        turns: ways of choosing frames, in turns.
        again: whether the frames are triaged again by each fit, before more are suggested.
    """

    turns: Sequence[str] = TURNS
    again: bool = True


CHANCE, FRAMES = "observations at random", "frames at random"

ORDERS: Mapping[str, Order] = {
    "suggested": Order(),
    "suggested by one triage": Order(again=False),
    "margin alone": Order((MARGIN,)),
    "anomalies alone": Order((ANOMALY,)),
    CHANCE: Order((RANDOM,)),
}
"""Orders of suggestions by their names."""


@dataclass(frozen=True)
class Labelled:
    """Frames of a pool that were labelled.

    Attributes:
        rows: (n,) of the pool.
        chosen: (n,) how each was chosen; '' where labels do not say.
    """

    rows: NDArray[np.int64]
    chosen: NDArray[np.str_]

    def are_random(self, pool: Pool) -> NDArray[np.bool_]:
        """Whether each frame's observation was drawn by chance, as ``recognition.fitting`` tells it, (n,)."""
        observation = pool.observation[self.rows]
        return np.isin(observation, observation[(self.chosen == RANDOM) | (self.chosen == "")])

    def behind_promise(self, pool: Pool) -> int:
        """Return the number of observations that were drawn by chance and have labels on all frames, with an event."""
        frames_of = np.bincount(pool.observation)
        observation = pool.observation[self.rows[self.are_random(pool)]]
        events = np.unique(pool.observation[pool.label != CLASSES.index(NOISE)])
        numbers, labels_of = np.unique(observation, return_counts=True)
        return int(np.isin(numbers[labels_of == frames_of[numbers]], events).sum())


@dataclass(frozen=True)
class OfLabels:
    """What labels bring.

    Attributes:
        macro_f1: of held-out frames by heads that were fitted to the labels.
        events_kept: share of the held-out event frames that their threshold keeps.
        noise_dropped: share of the held-out noise frames that it drops.
        observations: number of event observations that stand behind a promise.
    """

    macro_f1: float
    events_kept: float
    noise_dropped: float
    observations: int


Curves = dict[str, list[OfLabels]]
"""What each number of labels brings, by the order in which frames are labelled."""


def measure_orders(heads: TrainedHeads, pool: Pool, held_out: SeenFrames, sizes: Sequence[int], seed: int) -> Curves:
    """Label frames of a pool in each order, and score heads fitted to so many of them on held-out frames."""
    fits = {name: _suggested(heads, pool, order, sizes, seed) for name, order in ORDERS.items()}
    fits[FRAMES] = _by_frame(heads, pool, sizes, seed)
    return {
        name: [score(fitted, held_out, labelled.behind_promise(pool)) for labelled, fitted in each]
        for name, each in fits.items()
    }


def _by_frame(
    heads: TrainedHeads, pool: Pool, sizes: Sequence[int], seed: int
) -> Iterator[tuple[Labelled, TrainedHeads]]:
    """Yield frames that chance draws one by one, and heads that were fitted to them."""
    rows = np.random.default_rng(seed).permutation(len(pool))
    for size in sizes:
        labelled = Labelled(rows[:size], np.full(size, ""))
        yield labelled, _fitted(heads, pool, labelled)


def _suggested(
    heads: TrainedHeads, pool: Pool, order: Order, sizes: Sequence[int], seed: int
) -> Iterator[tuple[Labelled, TrainedHeads]]:
    """Yield the frames that were labelled as suggested, so many after the other, and heads that were fitted to them."""
    row_of = {place: row for row, place in enumerate(pool.places)}
    chosen: dict[tuple[str, int], str] = {}
    told = heads
    for size in sizes:
        for one in suggest(pool.ledger(told), chosen, size - len(chosen), seed, order.turns):
            chosen[one.file, one.frame] = one.chosen
        labelled = Labelled(np.array([row_of[place] for place in chosen]), np.array(list(chosen.values())))
        fitted = _fitted(heads, pool, labelled)
        yield labelled, fitted
        told = fitted if order.again else heads


def _fitted(heads: TrainedHeads, pool: Pool, labelled: Labelled) -> TrainedHeads:
    """Fit heads to labels as ``calibrate`` does; where it refuses these, heads stay as they are."""
    rows, observation = labelled.rows, pool.observation[labelled.rows]
    source = LabelledBy("simulated", "labelled by truth", "", len(rows), len(np.unique(observation)))
    seen = pool.features[rows], class_logits(heads, pool)[rows], pool.label[rows], observation
    try:
        return refit_seen(heads, *seen, source, labelled.are_random(pool)).heads
    except InputError:
        return heads


def score(heads: TrainedHeads, held_out: SeenFrames, observations: int = 0) -> OfLabels:
    """Score heads on held-out frames; so many observations stand behind a promise of them."""
    told, threshold = class_probability(heads, held_out), heads.calibration.noise_threshold
    measured = score_classes(told, held_out.label, threshold)
    scores = {name: np.nan if value is None else value for name, value in measured.items()}
    return OfLabels(scores["macro_f1"], scores["events_kept"], scores["noise_dropped"], observations)
