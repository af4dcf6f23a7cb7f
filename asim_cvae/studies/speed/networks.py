"""Cases that measure the network and its data: a training step, encoding, an epoch."""

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


def training(network: str, batch: int, repeats: int, cuda_graph: bool = False) -> Measurement:
    """Measure a training step, which is forward, backward and Adam, by its median time."""
    module = _module(network, cuda_graph)
    x = simulated_frames(batch).to(_DEVICE)
    step = _step(module)
    return {"seconds": _median_time(lambda: step(x), repeats)}


def encoding(network: str, batch: int, repeats: int) -> Measurement:
    """Measure encoding a batch of frames in eval mode, by its median time."""
    module = _module(network).eval()
    x = simulated_frames(batch).to(_DEVICE)
    with torch.inference_mode():
        return {"seconds": _median_time(lambda: module.encode(x), repeats)}


def epoch(store: str, cache: str, batch: int, frames: int | None = None, is_cached: bool = False) -> Measurement:
    """Measure a pass over a store's frames with a training step for each batch.

    Args:
        store: path of the frame store.
        cache: 'tensors' for represented frames in memory, 'memory' or 'store' as in ``data.cache``.
        batch: frames per step.
        frames: number of frames to use; None for all.
        is_cached: whether the system has the store in its cache when the pass begins, or nothing of it.
    """
    step = _step(_module("shipped"))
    first = simulated_frames(batch).to(_DEVICE)
    for _ in range(_WARM_UP):
        step(first)
    for shard in shards_folder(Path(store)).iterdir():
        if is_cached:
            shard.read_bytes()
        else:
            _drop_cache(shard)
    frame_store = FrameStore(Path(store))
    size = min(len(frame_store), frames or sys.maxsize)
    batches: Iterable[Tensor]
    if cache == "tensors":
        tensors = torch.from_numpy(THESIS_REPRESENTATION.apply(frame_store.frames(np.arange(size))))
        batches = (tensors[rows] for rows in torch.randperm(size)[: size // batch * batch].view(-1, batch))
    else:
        dataset = FrameDataset(
            frame_store, np.arange(size), THESIS_REPRESENTATION, None if cache == "store" else torch.device("cpu")
        )
        order = EpochShuffle(size, 0, prefetch=None if dataset.is_cached else dataset.prefetch, ahead=batch)
        batches = DataLoader(dataset, batch, sampler=order, drop_last=True, collate_fn=lambda frames: frames)
    begin = time.perf_counter()
    for x in batches:
        step(x.to(_DEVICE))
    _wait()
    return {"seconds": time.perf_counter() - begin, "frames": size // batch * batch}


def _module(network: str, cuda_graph: bool = False) -> CVAEModule:
    """Make the module to measure on its device, in training mode.

    Args:
        network: 'plain'; 'plain, allocator kept', the plain one with the allocator set as the commands set it; or
            'shipped', the shipped one with the allocator set so.
        cuda_graph: record steps, where there is a GPU.
    """
    if network != "plain":
        keep_large_blocks()
    torch.manual_seed(0)
    made, likelihood = MODELS["shipped" if network == "shipped" else "plain"]()
    return CVAEModule(made, likelihood, cuda_graph=cuda_graph).to(_DEVICE).train()


def _step(module: CVAEModule) -> Callable[[Tensor], None]:
    """Return a function that makes a training step on a batch."""
    optimizer = torch.optim.Adam(module.parameters(), 1e-4, fused=not isinstance(module.network, LayerNetwork))

    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        module.training_elbo(x, 1.0).loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def simulated_frames(count: int) -> Tensor:
    """Simulate ``count`` frames, and return them represented as the thesis does, (count, 3, 5000)."""
    return torch.from_numpy(THESIS_REPRESENTATION.apply(simulated_flux(count)))


def simulated_flux(count: int) -> NDArray[np.float32]:
    """Simulate the flux in uW/m^2 of ``count`` frames, (count, 3, 5000)."""
    frames: list[NDArray[np.float32]] = []
    number = 0
    while sum(map(len, frames)) < count:
        observation = simulate_observation(0, number)
        flux = counts_to_flux(observation.counts, observation.flux_per_count)
        frames.append(slice_frames(flux.astype(np.float32)))
        number += 1
    return np.concatenate(frames)[:count]


def _median_time(work: Callable[[], Any], repeats: int) -> float:
    """Return the median time of ``work`` in seconds, after a warm-up."""
    times = []
    for _ in range(_WARM_UP + repeats):
        begin = time.perf_counter()
        work()
        _wait()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[_WARM_UP:])


def _wait() -> None:
    """Wait until a GPU has done its work: calls return before that."""
    if _DEVICE.type == "cuda":
        torch.cuda.synchronize()


def _drop_cache(path: Path) -> None:
    """Make the system drop its cache of a file, if the system allows it."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
