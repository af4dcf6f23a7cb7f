"""Choose the precision in which a GPU multiplies float32 numbers."""

import torch


def use_tf32(wanted: bool) -> None:
    """Let a GPU shorten mantissas to 10 bits (TF32) in this process's products and convolutions, or not.

    By itself torch does so in convolutions.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = wanted
