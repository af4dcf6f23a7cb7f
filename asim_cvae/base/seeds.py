"""Seeds for the parts of a run."""

import numpy as np


def derived_seed(*parts: int) -> int:
    """A seed of 32 bits that is a function of ``parts``; different parts have unrelated ones."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
