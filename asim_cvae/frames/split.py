"""Split observations into training and validation; frames of one observation never stand on both sides."""

import hashlib
from collections.abc import Iterable

from asim_cvae.base.errors import InputError


def validation_observations(keys: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Choose the observations to validate on: the share ``fraction`` of them, at least one, never all.

    They are ranked by a hash of key and ``seed``, so that adding observations moves few of the others to another side.

    Args:
        keys: keys of the observations, see ``FileName.key``; repeated keys count once.
        fraction: share to validate on, between 0 and 1.
        seed: seed of the split.

    Raises:
        InputError: there are fewer than two observations, or ``fraction`` is not between 0 and 1.
    """
    ranked = sorted(set(keys), key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    if len(ranked) < 2:
        raise InputError(
            "training needs two observations at least, one of them for validation; "
            f"data.root holds {len(ranked)} that are not ground truth: add files to it"
        )
    if not 0 < fraction < 1:
        raise InputError(f"data.validation_fraction must lie between 0 and 1, not {fraction}")
    return set(ranked[: min(max(1, round(fraction * len(ranked))), len(ranked) - 1)])
