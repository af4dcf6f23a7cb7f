"""Keep the memory of large tensors in the process (glibc only)."""

import ctypes

# Parameters of mallopt(3), which Python does not name.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_large_blocks() -> bool:
    """Make glibc reuse the memory of large tensors instead of returning it to the kernel.

    By default glibc maps and unmaps every large tensor, and the page faults take half of a CPU training step. Call this
    before the first tensor is made.

    Returns:
        True if both settings were accepted, False if the C library is not glibc or refused them.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
