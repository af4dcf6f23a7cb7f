"""Training and validation sets: split by observation, never by frame."""

import hashlib
from collections.abc import Iterable

from asim_cvae.base.errors import InputError


def validation_observations(keys: Iterable[str], fraction: float, seed: int) -> set[str]:
    """The observations to validate on: a share ``fraction`` of ``keys``, at least one, and never all.

    They are drawn by a hash of the key and ``seed``, so that new observations leave most others where they were.

    Raises:
        InputError: there are fewer than two observations, or ``fraction`` is not between 0 and 1.
    """
    ranked = sorted(set(keys), key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    if len(ranked) < 2:
        raise InputError(
            f"training needs two observations at least, one of them for validation; there are {len(ranked)}"
        )
    if not 0 < fraction < 1:
        raise InputError(f"data.validation_fraction must lie between 0 and 1, not {fraction}")
    return set(ranked[: min(max(1, round(fraction * len(ranked))), len(ranked) - 1)])
