"""Work on large tensors that stays in a processor's cache."""

from collections.abc import Iterator

from torch import Tensor

_CACHED = 1_600_000
"""Values, of 4 bytes, of all tensors together that are worked on at a time."""


def cache_chunks(values: Tensor, tensors: int) -> Iterator[slice]:
    """Parts of the first dimension to go through, of work that needs so many tensors of that size; on a GPU, all."""
    size = len(values)
    if values.device.type == "cpu":
        size = _CACHED // tensors * len(values) // max(1, values.numel())
    size = max(1, size)
    return (slice(first, first + size) for first in range(0, max(1, len(values)), size))
