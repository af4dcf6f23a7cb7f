"""Cases of the GPU suite, each measured in a process of its own; they yield measurements as they make them."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asim_cvae.base.allocator import keep_large_blocks
from asim_cvae.model.module import CVAEModule
from asim_cvae.model.objective import frame_log_likelihood
from asim_cvae.nn.precision import use_tf32
from asim_cvae.nn.thesis import ThesisNetwork
from asim_cvae.recognition.heads import TrainedHeads
from asim_cvae.runs.thesis import load_thesis_weights
from asim_cvae.studies.speed.cases import Measurement
from asim_cvae.studies.speed.networks import simulated_flux, simulated_frames
from asim_cvae.studies.speed.plain import MODELS, PlainLikelihood
from asim_cvae.studies.speed.triaging import shipped_origin
from asim_cvae.triaging.measures import measure_frames
from asim_cvae.triaging.origin import make_judge

_DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
_ON_GPU = _DEVICE.type == "cuda"
_WARM_UP = 3  # steps
_COPIED = 2**30 if _ON_GPU else 2**24  # bytes
_BATCHES_HELD = 4  # steps take them in turn: no cache holds the only batch
_DIFFERENT = 400  # simulated frames; larger batches repeat them
_ONE_BY_ONE, _RECORDED, _GRAPH = "one by one", "model.cuda_graph", "one CUDA graph"
_WAYS = (_ONE_BY_ONE, _RECORDED, _GRAPH) if _ON_GPU else (_ONE_BY_ONE,)
_PRECISIONS = (("float64", False), ("float32", False), *([("TF32", True)] if _ON_GPU else []))
"""Names, and whether products are of 10-bit mantissas."""


def parity(reference: str) -> Iterator[Measurement]:
    """Published networks beside what the thesis's program computed: largest errors, relative to the largest value."""
    use_tf32(False)
    published = np.load(Path(reference) / "thesis_parity.npz")
    for path in sorted((Path(reference) / "thesis_weights").glob("*.pth")):
        for precision in (torch.float64, torch.float32):
            module = load_thesis_weights(path).to(_DEVICE, precision)
            x = torch.from_numpy(published["x"]).to(_DEVICE, precision)
            with torch.no_grad():
                mu, _, kl = module.encode(x)
                p_x = module.decode(mu)
                found = {
                    "mu": mu,
                    "log_beta": p_x.concentration0.log().flatten(1)[:, ::25],  # type: ignore[attr-defined]
                    "log_px": frame_log_likelihood(p_x, x),
                    "kl": kl,
                }
            errors = {name: _error(value, published[f"{path.stem}/{name}_f64"]) for name, value in found.items()}
            yield {"network": path.stem, "precision": str(precision).removeprefix("torch."), **errors}


def gradients(networks: Sequence[str], batch: int) -> Iterator[Measurement]:
    """Gradients of a training step beside float64 on the CPU: norm of the difference over norm, of the worst weight."""
    x = simulated_frames(batch).double()
    noise = torch.randn(batch, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = _gradients("layers", x, noise)
    for name in networks:
        for precision, tf32 in _PRECISIONS:
            use_tf32(tf32)
            dtype = torch.float64 if precision == "float64" else torch.float32
            found = _gradients(name, x.to(_DEVICE, dtype), noise.to(_DEVICE, dtype))
            errors = [
                float((ours.double().cpu() - theirs).norm() / theirs.norm())
                for ours, theirs in zip(found, expected, strict=True)
            ]
            worst, median = max(errors), statistics.median(errors)
            yield {"network": name, "precision": precision, "worst": worst, "median": median}


def bandwidth() -> Iterator[Measurement]:
    """A copy within the device's memory, in bytes read and written each second; and what a step has to move."""
    source = torch.rand(_COPIED // 4, device=_DEVICE)
    target = torch.empty_like(source)
    seconds = _median_time(lambda _: target.copy_(source), 0.5)
    yield {"bytes_a_second": 2 * source.numel() * 4 / seconds, "bytes_a_frame": least_bytes(ThesisNetwork())}


def steps(
    networks: Sequence[str], batches: Sequence[int], tf32: Sequence[bool], seconds: float
) -> Iterator[Measurement]:
    """Training steps, forward, backward and Adam: as they are, by ``model.cuda_graph``, and as one CUDA graph."""
    for products in tf32:
        use_tf32(products)
        for batch in batches:
            for name in networks:
                for way in _WAYS:
                    described = {"network": name, "batch": batch, "tf32": products, "way": way}
                    yield described | _step_measurement(name, batch, way, seconds)


def kernels(networks: Sequence[str], batch: int, count: int) -> Iterator[Measurement]:
    """The operations in which a step's time is spent, on a GPU its kernels, the longest first."""
    use_tf32(False)
    activities = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if _ON_GPU else [])]
    for name in networks:
        step = _step(_module(name).train())
        x = _frames(batch)
        for _ in range(_WARM_UP):
            step(x)
        _wait()
        with torch.profiler.profile(activities=activities) as profile:
            step(x)
            _wait()
        times = {e.key: _own_time(e) for e in profile.key_averages() if not _ON_GPU or e.device_type.name == "CUDA"}
        whole = sum(times.values())
        for key, own in sorted(times.items(), key=lambda item: -item[1])[:count]:
            yield {"network": name, "batch": batch, "operation": key[:90], "share": own / whole, "ms": own / 1e3}


def encodings(networks: Sequence[str], batches: Sequence[int], seconds: float) -> Iterator[Measurement]:
    """Latents in eval mode."""
    use_tf32(False)
    for batch in batches:
        for name in networks:
            with torch.inference_mode():
                taken = _median_time(partial(_encode, _module(name).eval(), _frames(batch)), seconds)
            yield {"network": name, "batch": batch, "seconds": taken}


def judging(batches: Sequence[int], seconds: float) -> Iterator[Measurement]:
    """What the weights that ship tell of simulated frames beside what they tell on the CPU, and how fast."""
    use_tf32(False)
    flux = simulated_flux(_DIFFERENT)
    judges = [make_judge(shipped_origin(), device) for device in ("cpu", _DEVICE.type)]
    here, there = (measure_frames(judge.model, judge.heads, flux) for judge in judges)
    assert here.told is not None
    assert there.told is not None
    yield {
        "frames": len(flux),
        "same_class": float((here.told.classes.argmax(1) == there.told.classes.argmax(1)).mean()),
        "class_probability": float(np.abs(here.told.classes - there.told.classes).max()),
        "kind_probability": float(np.abs(here.told.kinds - there.told.kinds).max()),
        "log_px": float(np.abs(there.log_px / here.log_px - 1).max()),
    }
    model, heads = judges[1].model, judges[1].heads
    assert heads is not None
    for batch in batches:
        frames = np.resize(flux, (batch, *flux.shape[1:]))
        x = torch.from_numpy(model.representation.apply(frames)).to(_DEVICE)
        with torch.inference_mode():
            network = _median_time(partial(_infer, model.module, x), seconds)
            taken = _median_time(partial(_recognize, heads, frames), seconds)
        yield {"batch": batch, "network_s": network, "heads_s": taken}


def least_bytes(network: ThesisNetwork) -> float:
    """Bytes of a frame that a training step has to move where everything that can be merged is.

    What pooled, last, linear and transposed convolutions give is written once and read twice, its gradient written and
    read once; the frame is read twice. Activations, normalisation, upsampling and density go along.
    """
    sizes: list[int] = []
    kept = (nn.MaxPool1d, nn.ConvTranspose1d, nn.Linear)
    last = network.encoder.layers[12]
    hooks = [
        layer.register_forward_hook(lambda _, __, output: sizes.append(output.numel()))
        for layer in network.modules()
        if isinstance(layer, kept) or layer is last
    ]
    with torch.no_grad():
        network.eval().decoder.plain(network.encoder.plain(torch.zeros(1, 3, 5000))[0])
    for hook in hooks:
        hook.remove()
    return 4.0 * (5 * sum(sizes) + 2 * 15_000)


def _encode(module: CVAEModule, frames: Tensor, turn: int) -> None:
    module.encode(frames)


def _infer(module: CVAEModule, frames: Tensor, turn: int) -> None:
    module.infer(frames)


def _recognize(heads: TrainedHeads, flux: NDArray[np.float32], turn: int) -> None:
    heads.recognize(flux)


def _module(name: str, cuda_graph: bool = False) -> CVAEModule:
    """Make a network and its likelihood on the device; all with the same weights, of an encoder that is alive."""
    network, likelihood = MODELS[name]()
    torch.manual_seed(0)
    fresh = ThesisNetwork()
    nn.init.constant_(fresh.encoder.layers[0].bias, 0.1)  # type: ignore[arg-type]
    network.load_state_dict(fresh.state_dict())
    return CVAEModule(network, likelihood, cuda_graph=cuda_graph).to(_DEVICE)


def _frames(count: int) -> Tensor:
    different = simulated_frames(min(count, _DIFFERENT)).to(_DEVICE)
    return different.repeat(-(-count // len(different)), 1, 1)[:count]


def _gradients(name: str, x: Tensor, noise: Tensor) -> list[Tensor]:
    module = _module(name).to(x.device, x.dtype).train()
    mu, log_sigma, kl = module.encode(x)
    p_x = module.decode(mu + log_sigma.exp() * noise)
    (kl - frame_log_likelihood(p_x, x)).mean().backward()  # type: ignore[no-untyped-call]
    return [p.grad for p in module.parameters() if p.grad is not None]


def _step_measurement(name: str, batch: int, way: str, seconds: float) -> Measurement:
    """Median time of a step and the memory that it takes, or why there is none."""
    keep_large_blocks()
    gc.collect()
    if _ON_GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    try:
        held = [_frames(batch)]
        held += [held[0].roll(i, 0) for i in range(1, _BATCHES_HELD)]
        step = _step(_module(name, cuda_graph=way == _RECORDED).train(), capturable=way == _GRAPH)
        work = _as_graph(step, held[0]) if way == _GRAPH else step
        taken = _median_time(lambda i: work(held[i % _BATCHES_HELD]), seconds)
    except Exception as error:  # no memory, no compiler: the next way may do
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    peak = torch.cuda.max_memory_allocated() / 1e6 if _ON_GPU else 0.0
    return {"seconds": taken, "peak_mb": peak, "ready_s": time.perf_counter() - begin}


def _step(module: CVAEModule, capturable: bool = False) -> Callable[[Tensor], Any]:
    how: dict[str, Any] = {} if isinstance(module.likelihood, PlainLikelihood) else {"fused": True}
    optimizer = torch.optim.Adam(module.parameters(), 1e-4, capturable=capturable, **how)

    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        module.training_elbo(x, 1.0).loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _as_graph(step: Callable[[Tensor], Any], x: Tensor) -> Callable[[Tensor], Any]:
    """The step recorded once, whose replays cost one launch."""
    place = x.clone()
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UP):
            step(place)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(place)

    def replay(batch: Tensor) -> None:
        place.copy_(batch)
        graph.replay()

    return replay


def _median_time(work: Callable[[int], Any], seconds: float) -> float:
    """Median over as many calls as fit, five at least."""
    for i in range(_WARM_UP):
        work(i)
    _wait()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 5:
        begin = time.perf_counter()
        work(len(times))
        _wait()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def _wait() -> None:
    if _ON_GPU:
        torch.cuda.synchronize()


def _own_time(event: Any) -> float:
    """Microseconds in the operation itself: on a GPU of its kernels."""
    return float(event.self_device_time_total if _ON_GPU else event.self_cpu_time_total)


def _error(found: Tensor, expected: np.ndarray[Any, Any]) -> float:
    return float(np.abs(found.double().cpu().numpy() - expected).max() / np.abs(expected).max())
