"""The choice between the CPU's way of computing and the GPU's: Triton, which torch's CUDA builds for Linux bring."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor


def is_fused(values: Tensor) -> bool:
    """Tell whether values are on a device where Triton kernels compute, our own and Inductor's."""
    return values.is_cuda and _has_triton()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


@cache
def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, whose operations are all elementwise, as one kernel for tensors of any size."""
    return torch.compile(function, dynamic=True)
