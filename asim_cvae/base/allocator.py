"""glibc's allocator, told to keep the memory of large tensors."""

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_large_blocks() -> bool:
    """Stop glibc from mapping and unmapping every large tensor, whose page faults take half of a CPU training step.

    Call before the first tensor is made. False, and nothing done, where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
