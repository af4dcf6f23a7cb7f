"""How interesting frames are: how rarely frames are as odd, and why, in words."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.classes import KINDS
from asim_cvae.instrument.photometers import PHOTOMETERS, SAMPLING_RATE
from asim_cvae.triaging.measures import Measures
from asim_cvae.triaging.reference import Reference, kind_score

Array = NDArray[np.float64]

_MS = 1000 / SAMPLING_RATE
_SMALLEST = 1e-300
_TOLD = 0.05  # probability of a kind below which a frame is only more like it than others


class Interest(NamedTuple):
    """How interesting N frames are."""

    interest: Array
    """-log10 of the smallest share of reference frames that are as odd, (N,); NaN if there is no reference."""
    unusual: Array
    """Share of reference frames whose description, and whose features to the heads, lie nearer to the mean, (N,): the
    larger of the two; NaN if there is no reference."""
    reason: list[str]
    """What makes each frame interesting, in words."""


def rate_interest(
    measures: Measures, numbers: NDArray[np.int64], reference: Reference, rare: Sequence[str]
) -> Interest:
    """Rate frames by the share of reference frames that are as odd in one of three ways, the smallest of all.

    - *misfit*: the reconstruction misses light in a photometer as surely; particle hits are left out.
    - *unusual*: the description, or what the heads see, lies as far from the mean.
    - a *rare kind*: among frames without such an event, the heads give as high a probability of one.

    Args:
        measures: what model and heads tell of the frames.
        numbers: (N,) their numbers in their observation.
        reference: what frames usually look like to both.
        rare: those of ``KINDS`` that count.
    """
    shares, worst = _shares(measures, reference, rare)
    if not shares:
        missing = np.full(len(measures.kl), np.nan)
        return Interest(missing, missing, [""] * len(missing))
    names, values = list(shares), np.array(list(shares.values()))
    far = [shares[name] for name in ("description", "features") if name in shares]
    smallest = values.argmin(0)
    return Interest(
        interest=-np.log10(np.maximum(values.min(0), _SMALLEST)),
        unusual=1 - np.min(far, axis=0) if far else np.full(values.shape[1], np.nan),
        reason=[
            _of_misfit(frame, int(worst[frame]), measures, int(numbers[frame]))
            if names[row] == "misfit"
            else _words(names[row], frame, values[row, frame], measures)
            for frame, row in enumerate(smallest)
        ],
    )


def _shares(
    measures: Measures, reference: Reference, rare: Sequence[str]
) -> tuple[Mapping[str, Array], NDArray[np.int64]]:
    """Compare frames with the reference frames.

    Returns:
        For each way of being odd, the share of reference frames that are as odd as each frame, (N,); and (N,) the
        photometer that decides the share of the misfit.
    """
    shares = {}
    worst = np.zeros(len(measures.kl), np.int64)
    if reference.model is not None:
        shares["misfit"], worst = reference.model.share_as_misfit(measures.misfit.of_photometers)
        shares["description"] = reference.model.familiarity.share_as_far(measures.description)
    if reference.heads is not None and measures.told is not None:
        shares["features"] = reference.heads.familiarity.share_as_far(measures.told.features)
        scores = kind_score(measures.told.kinds)
        for kind in rare:
            shares[kind] = reference.heads.kinds[kind].share_above(scores[:, KINDS.index(kind)])
    return shares, worst


def _words(name: str, frame: int, share: float, measures: Measures) -> str:
    """Say what makes a frame interesting, other than a misfit."""
    if name in ("description", "features"):
        return f"more unusual than {_percent(1 - share)} of frames"
    assert measures.told is not None
    probability = float(measures.told.kinds[frame, KINDS.index(name)])
    return (
        f"{name}, probability {probability:.2f}"
        if probability >= _TOLD
        else f"more like {_article(name)} than {_percent(1 - share)} of frames"
    )


def _article(kind: str) -> str:
    if kind == "radiation":
        return kind
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _of_misfit(frame: int, photometer: int, measures: Measures, number: int) -> str:
    excess = measures.misfit.excess
    counts, start, samples = (
        int(column[frame, photometer]) for column in (excess.counts, excess.start, excess.samples)
    )
    place = f"{samples * _MS:.2f} ms from {(number * FRAME_SAMPLES + start) * _MS:.2f} ms on"
    return f"{counts} counts at {PHOTOMETERS[photometer].band} beyond the reconstruction in {place}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + " %" if share < 0.9999 else "99.99 %"
