"""Match what stands out in the photometers: a pulse has one feature in each of them at most."""

from collections.abc import Mapping, Sequence

from asim_cvae.pulses.measurement import Feature

Lit = Mapping[int, Feature]
"""The features of a pulse, by the index of the photometer."""

_COINCIDENCE = 3  # samples by which times may differ in any case
_ULTRAVIOLET_ONSET = 5  # samples by which an ultraviolet half-maximum may be off,
_ULTRAVIOLET_SHARE = 0.1  # or this share of the widths
_TRACES = {(0, 2): 0.03, (0, 1): 0.02, (1, 2): 0.02}
"""Share of a feature's light, in a pair of photometers, below which another one at its time is its trace."""


def match(features: Sequence[Feature]) -> list[Lit]:
    """Match the features of all photometers into pulses, the nearest first.

    Clouds delay 337 nm by more than 777.4 nm, so that features may be apart by a part of their widths.
    """
    of_photometer: list[list[Lit]] = [[{i: one} for one in features if one.photometer == i] for i in range(3)]
    return _joined(_joined(of_photometer[0], of_photometer[2]), of_photometer[1])


def _joined(pulses: Sequence[Lit], others: Sequence[Lit]) -> list[Lit]:
    """Return pulses, each with the nearest of the ``others`` that is near enough, and the others that are left."""
    pairs = []
    for i, pulse in enumerate(pulses):
        for j, other in enumerate(others):
            distance = min(_distance(one, two) for one in pulse.values() for two in other.values())
            if distance <= 1:
                pairs.append((distance, i, j))
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(pairs):
        if i not in partner and j not in taken:
            partner[i] = j
            taken.add(j)
    joined = [{**pulse, **others[partner[i]]} if i in partner else pulse for i, pulse in enumerate(pulses)]
    return [*joined, *(other for j, other in enumerate(others) if j not in taken)]


def _distance(one: Feature, other: Feature) -> float:
    """Return the distance of two photometers' features, in units of the largest at which they are one pulse."""
    apart = abs(one.top - other.top)
    weak, strong = (one, other) if one.light <= other.light else (other, one)
    first, second = sorted((one.photometer, other.photometer))
    if weak.light < _TRACES[first, second] * strong.light:
        return apart / max(_COINCIDENCE, strong.width)
    widths = one.width + other.width
    if 1 in (first, second):  # an elve begins at the peak of a stroke, and is a pulse of its own
        return abs(one.rise[1] - other.rise[1]) / max(_ULTRAVIOLET_ONSET, _ULTRAVIOLET_SHARE * widths)
    common = min(one.fall[1], other.fall[1]) - max(one.rise[1], other.rise[1]) + 1
    together = max(one.fall[1], other.fall[1]) - min(one.rise[1], other.rise[1]) + 1
    return 1 - max(common, 0) / together + apart / (_COINCIDENCE + widths / 2)
