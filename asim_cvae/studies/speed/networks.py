"""The network and its data: training, encoding, epochs."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from asim_cvae.base.allocator import keep_large_blocks
from asim_cvae.data.dataset import FrameDataset
from asim_cvae.data.sampler import EpochShuffle
from asim_cvae.frames.shards import shards_folder
from asim_cvae.frames.slicing import slice_frames
from asim_cvae.frames.store import FrameStore
from asim_cvae.instrument.photometers import counts_to_flux
from asim_cvae.model.module import CVAEModule
from asim_cvae.runs.thesis import THESIS_REPRESENTATION
from asim_cvae.simulator.observation import simulate_observation
from asim_cvae.studies.speed.cases import Measurement
from asim_cvae.studies.speed.plain import MODELS, LayerNetwork

_DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
_WARM_UP = 3  # steps


def training(network: str, batch: int, repeats: int, compile: dict[str, Any] | None = None) -> Measurement:
    """A training step: forward, backward, Adam."""
    module = _module(network, compile)
    x = simulated_frames(batch).to(_DEVICE)
    step = _step(module)
    return {"seconds": _median_time(lambda: step(x), repeats)}


def encoding(network: str, batch: int, repeats: int) -> Measurement:
    """Latents of a batch of frames, in eval mode."""
    module = _module(network).eval()
    x = simulated_frames(batch).to(_DEVICE)
    with torch.inference_mode():
        return {"seconds": _median_time(lambda: module.encode(x), repeats)}


def epoch(store: str, cache: str, batch: int, frames: int | None = None, is_cached: bool = False) -> Measurement:
    """A pass over a store's frames with a training step each batch.

    ``is_cached``: whether the system has cached what is read from the store, or nothing of it.
    """
    step = _step(_module("shipped"))
    first = simulated_frames(batch).to(_DEVICE)
    for _ in range(_WARM_UP):
        step(first)
    for shard in shards_folder(Path(store)).iterdir():
        if is_cached:
            shard.read_bytes()
        else:
            _forget_cached(shard)
    opened = FrameStore(Path(store))
    size = min(len(opened), frames or sys.maxsize)
    batches: Iterable[Tensor]
    if cache == "tensors":
        held = torch.from_numpy(THESIS_REPRESENTATION.apply(opened.frames(np.arange(size))))
        batches = (held[rows] for rows in torch.randperm(size)[: size // batch * batch].view(-1, batch))
    else:
        dataset = FrameDataset(
            opened, np.arange(size), THESIS_REPRESENTATION, None if cache == "store" else torch.device("cpu")
        )
        order = EpochShuffle(size, 0, prefetch=None if dataset.is_cached else dataset.prefetch, ahead=batch)
        batches = DataLoader(dataset, batch, sampler=order, drop_last=True, collate_fn=lambda frames: frames)
    begin = time.perf_counter()
    for x in batches:
        step(x.to(_DEVICE))
    _wait()
    return {"seconds": time.perf_counter() - begin, "frames": size // batch * batch}


def _module(network: str, compile: dict[str, Any] | None = None) -> CVAEModule:
    """``plain``; ``plain, allocator kept``; or ``shipped``, whose allocator is told by the commands."""
    if network != "plain":
        keep_large_blocks()
    torch.manual_seed(0)
    made, likelihood = MODELS["blocks" if network == "shipped" else "plain"]()
    return CVAEModule(made, likelihood, compile=compile).to(_DEVICE).train()


def _step(module: CVAEModule) -> Callable[[Tensor], None]:
    optimizer = torch.optim.Adam(module.parameters(), 1e-4, fused=not isinstance(module.network, LayerNetwork))

    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        module.training_elbo(x, 1.0).loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def simulated_frames(count: int) -> Tensor:
    """Scaled frames of simulated observations."""
    frames: list[NDArray[np.float32]] = []
    number = 0
    while sum(map(len, frames)) < count:
        made = simulate_observation(0, number)
        frames.append(slice_frames(counts_to_flux(made.counts, made.flux_per_count).astype(np.float32)))
        number += 1
    return torch.from_numpy(THESIS_REPRESENTATION.apply(np.concatenate(frames)[:count]))


def _median_time(work: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(_WARM_UP + repeats):
        begin = time.perf_counter()
        work()
        _wait()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[_WARM_UP:])


def _wait() -> None:
    if _DEVICE.type == "cuda":
        torch.cuda.synchronize()


def _forget_cached(path: Path) -> None:
    """Have the system drop what it has cached of a file, where it can be told so."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
