"""Fit heads to the labelled frames of a store, and gather what stands behind a promise of them."""

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from asim_cvae.archive.labels import RANDOM
from asim_cvae.base.errors import InputError
from asim_cvae.data.datamodule import ScoredFrames
from asim_cvae.instrument.classes import CLASSES, NOISE
from asim_cvae.recognition.evaluation import labelled_values, source_of
from asim_cvae.recognition.heads import TrainedHeads
from asim_cvae.recognition.promise import Evidence, make_evidence
from asim_cvae.recognition.refitting import refit
from asim_cvae.recognition.scores import macro_f1

_NOISE = CLASSES.index(NOISE)
_CONFIDENCE = 0.95  # of the promise that is told

log = logging.getLogger(__name__)


def fit_to_labels(heads: TrainedHeads, frames: ScoredFrames, is_refitted: bool) -> TrainedHeads:
    """Return heads fitted to labelled frames, with what these tell of a promise, and log both.

    Args:
        heads: trained heads.
        frames: labelled frames.
        is_refitted: whether class head, temperature and threshold are fitted; else they stay as they are.

    Raises:
        InputError: the frames are too few or of one class; or nothing is to be fitted, and no observation tells of a
            promise, or the heads were fitted to frames of this name.
    """
    seen = heads.calibrated_on
    if not is_refitted and seen is not None and seen.name == source_of(frames).name:
        raise InputError(
            f"these heads were fitted to labels of {seen.name}, which cannot promise anything of them; "
            "give data of another name, with other observations"
        )
    values, label, observation = labelled_values(heads, frames)
    is_random = are_random(frames)
    probability = heads.recognize_values(values).classes
    if is_refitted:
        before = macro_f1(label, probability.argmax(1))
        fitted = refit(heads, values, label, observation, source_of(frames), is_random)
        heads, probability = fitted.heads, fitted.crossed
        log.info(
            "macro F1 on these %d frames: %.3f before; %.3f by heads that were fitted to other observations of them",
            *(len(label), before, macro_f1(label, probability.argmax(1))),
        )
    evidence = _evidence(frames, probability, label, observation, is_random)
    if evidence is None and not is_refitted:
        raise InputError("no labels to promise anything by: no event observation is wholly labelled, by chance")
    _tell(evidence)
    return replace(heads, evidence=evidence)


def are_random(frames: ScoredFrames) -> NDArray[np.bool_]:
    """Whether each frame's observation was labelled by chance, (N,), and not because of what heads told of it.

    It is where any of its frames was chosen at random, whatever chose others of it as well; all are where the labels do
    not say how they were chosen.
    """
    chosen = frames.dataset.store.table.chosen[frames.dataset.rows]
    if not (chosen != "").any():
        return np.ones(len(chosen), dtype=bool)
    return np.isin(frames.file, frames.file[chosen == RANDOM])


def are_whole(frames: ScoredFrames) -> NDArray[np.bool_]:
    """Whether all frames that the store has of each frame's observation are among them, (N,)."""
    observation = frames.dataset.store.table.observation
    of_frames = observation[frames.dataset.rows]
    frames_of = np.bincount(observation)
    is_whole: NDArray[np.bool_] = np.bincount(of_frames, minlength=len(frames_of)) == frames_of
    return is_whole[of_frames]


def _evidence(
    frames: ScoredFrames,
    probability: NDArray[np.float64],
    label: NDArray[np.int64],
    observation: NDArray[np.int64],
    is_random: NDArray[np.bool_],
) -> Evidence | None:
    """Evidence of the observations that are wholly labelled, by chance; logs how many these are."""
    is_used = is_random & are_whole(frames)
    every, random, used = (len(np.unique(observation[chosen])) for chosen in (label >= 0, is_random, is_used))
    if used < every:
        log.info(
            "for a promise count %d of %d labelled observations: those chosen at random (%d) and wholly labelled",
            *(used, every, random),
        )
    noise, is_event, source = probability[:, _NOISE], label != _NOISE, source_of(frames, is_used)
    return make_evidence(noise[is_used], is_event[is_used], observation[is_used], frames.time_utc[is_used], source)


def _tell(evidence: Evidence | None) -> None:
    if evidence is None:
        log.info("promise: none, as no event observation is wholly labelled, by chance")
        return
    told = (evidence.event_observations, evidence.source.observations, len(evidence.worst))
    log.info("%d of %d labelled observations hold events; one an orbit leaves %d", *told)
    log.info("promise: %s", evidence.words(_CONFIDENCE))
