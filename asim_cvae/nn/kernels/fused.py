"""When a GPU uses fused kernels, and how they are made: by Triton, which torch's CUDA builds for Linux bring along."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor


def is_fused(values: Tensor) -> bool:
    """Tell whether fused kernels can compute on these values."""
    return values.is_cuda and _has_triton()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


@cache
def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function``, whose operations are all elementwise, to few kernels for tensors of any size."""
    return torch.compile(function, dynamic=True)
