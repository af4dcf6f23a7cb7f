"""What a GPU computes otherwise than a CPU: by Triton, which comes with torch's CUDA builds for Linux."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor


def is_fused(values: Tensor) -> bool:
    """Whether what is computed of such values goes through kernels of our own, or made for the purpose."""
    return values.is_cuda and _has_triton()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


@cache
def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, whose operations are all elementwise, as one kernel for tensors of any size."""
    return torch.compile(function, dynamic=True)
