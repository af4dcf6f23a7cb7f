"""Bounds on exponents, so that exp() of what a network gives stays finite."""

import torch
from torch import Tensor

LOG_SIGMA = (-10.0, 10.0)
"""log sigma of q(z|x); the thesis's trained networks stay between -8.7 and 1.1 on real frames."""

LOG_CONCENTRATION = (-10.0, 22.0)
"""log alpha and log beta; the thesis's trained networks stay between -3.3 and 20.2 on real frames."""


def soft_bound(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` itself between ``low`` and ``high``, growing as a logarithm beyond them: smooth, its gradient never 0."""
    if x.device.type == "cpu":  # elsewhere looking costs more than computing
        lowest, highest = x.detach().aminmax()
        if lowest >= low and highest <= high:
            return x
    excess, shortfall = (x - high).clamp(min=0), (low - x).clamp(min=0)
    return x.clamp(low, high) + torch.log1p(excess) - torch.log1p(shortfall)
