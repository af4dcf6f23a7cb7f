"""Derive the random seeds of a run's parts from one seed."""

import numpy as np


def derived_seed(*parts: int) -> int:
    """Derive a 32-bit seed from ``parts``: equal parts give equal seeds, different parts give unrelated ones.

    NumPy's ``SeedSequence`` does the mixing.
    """
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
