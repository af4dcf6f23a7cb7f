"""Trained models for people: NumPy arrays in, NumPy arrays out."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from asim_cvae.base.errors import InputError
from asim_cvae.frames.slicing import FRAME_SAMPLES
from asim_cvae.instrument.photometers import PHOTOMETERS
from asim_cvae.nn.precision import use_tf32
from asim_cvae.recognition.heads import Recognition, TrainedHeads, has_heads, read_heads
from asim_cvae.runs.export import TrainedModel, load_model
from asim_cvae.runs.pretrained import located

_BATCH = 100
_FRAME = (len(PHOTOMETERS), FRAME_SAMPLES)

Array = NDArray[np.float32]


class Encoding(NamedTuple):
    """Posteriors of N frames; latents have the network's own shape, (50,) for the thesis's."""

    mu: Array
    """Posterior means, (N, ...)."""
    sigma: Array
    """Posterior standard deviations, (N, ...)."""
    kl: Array
    """KL divergence from the prior of each frame, (N,), in nats."""


class Model:
    """A trained model that takes flux as MMIA's files hold it.

    Flux is (N, 3, 5000), or (3, 5000) for one frame, of any float type: the photometers 337 nm, 180-230 nm and 777.4 nm
    in uW/m^2, 5000 samples of 10 us each, in time order. What the network needs beyond that (scaling, reversed time,
    bins) is done here. All methods compute in batches, on the device of the model, and return float32.

    Args:
        trained: the model; :func:`load` reads one.
        heads: heads beside it, which tell classes and kinds of events; None if there are none.
    """

    def __init__(self, trained: TrainedModel, heads: TrainedHeads | None = None) -> None:
        self.trained = trained
        self.heads = heads

    @property
    def run_info(self) -> Mapping[str, Any]:
        """What is known of the training: experiment, seed, epochs, restarts."""
        return self.trained.run_info

    def to(self, device: str | torch.device) -> "Model":
        """Move model and heads to a device, such as 'cuda'; the model itself is returned.

        TF32 is switched off in this process, so that a GPU computes what a CPU does.
        """
        use_tf32(False)
        for network in (self.trained.module, *([self.heads.network] if self.heads else [])):
            network.to(device)
        return self

    def encode(self, flux: ArrayLike) -> Encoding:
        """Encode frames to their posteriors.

        Raises:
            InputError: ``flux`` has another shape or type, or holds NaN or infinity.
        """

        def posterior(x: Tensor) -> tuple[Tensor, ...]:
            mu, log_sigma, kl = self.trained.module.encode(x)
            return mu, log_sigma.exp(), kl

        return Encoding(*self._over_batches(posterior, self._represented(flux)))

    def describe(self, flux: ArrayLike) -> Array:
        """Describe frames by vectors (N, D), the ones that are clustered.

        Raises:
            InputError: as :meth:`encode`.
        """
        return self._over_batches(lambda x: (self.trained.module.describe(x),), self._represented(flux))[0]

    def decode(self, z: ArrayLike) -> Array:
        """Decode latents (N, ...) to flux (N, 3, 5000) in uW/m^2: the mean of p(x|z).

        Raises:
            InputError: the latents have another shape than :meth:`encode` gives.
        """
        latents = torch.from_numpy(_floats(z, "latents"))
        wanted = self.encode(np.zeros(_FRAME)).mu.shape[1:]
        if latents.shape[1:] != wanted:
            raise InputError(f"latents have to be (N, {_listed(wanted)}), not {tuple(latents.shape)}")
        mean = self._over_batches(lambda part: (self.trained.module.decode(part).mean,), latents)[0]
        return self.trained.representation.invert(mean)

    def reconstruct(self, flux: ArrayLike) -> Array:
        """Encode frames and decode their posterior means, to flux (N, 3, 5000) in uW/m^2.

        Raises:
            InputError: as :meth:`encode`.
        """
        return self.decode(self.encode(flux).mu)

    def recognize(self, flux: ArrayLike) -> Recognition:
        """Tell classes of frames and kinds of events in them, with probabilities.

        Raises:
            InputError: there are no heads beside the model, or as :meth:`encode`.
        """
        if self.heads is None:
            raise InputError("there are no heads beside this model; python -m asim_cvae.heads out=RUN trains them")
        return self.heads.recognize(_frames(flux))

    def _represented(self, flux: ArrayLike) -> Tensor:
        return torch.from_numpy(self.trained.representation.apply(_frames(flux)))

    @torch.inference_mode()
    def _over_batches(self, work: Callable[[Tensor], tuple[Tensor, ...]], rows: Tensor) -> list[Array]:
        module = self.trained.module
        filled = rows if len(rows) else rows.new_zeros(1, *rows.shape[1:])  # no rows: for the shape of what comes out
        parts = [work(part.to(module.device)) for part in torch.split(filled, _BATCH)]
        columns = (torch.cat([part.float().cpu() for part in column]) for column in zip(*parts, strict=True))
        return [column[: len(rows)].numpy() for column in columns]


def load(path: str | Path, trust: Collection[str] = ()) -> Model:
    """Load the model of a run folder, an exported ``model.safetensors``, a checkpoint, or a published ``.pth``.

    Args:
        path: folder or file; 'pretrained' for the weights that ship.
        trust: packages of your own whose classes the file may name.

    Raises:
        InputError: there is no such file, no model in it, or it names a class that is not trusted.
    """
    given = located(Path(path))
    folder = given if given.is_dir() else given.parent
    return Model(load_model(given, trust), read_heads(folder, trust) if has_heads(folder) else None)


def _frames(flux: ArrayLike) -> Array:
    frames = _floats(flux, "flux")
    if frames.shape == _FRAME:
        frames = frames[None]
    if frames.ndim != 3 or frames.shape[1:] != _FRAME:
        raise InputError(f"flux has to be (N, {_listed(_FRAME)}) or ({_listed(_FRAME)}), not {frames.shape}")
    return frames


def _floats(values: ArrayLike, name: str) -> Array:
    array = np.asarray(values)
    if array.dtype.kind != "f":
        raise InputError(f"{name} has to be an array of floats, not of {array.dtype}")
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds NaN or infinity; leave frames with gaps out")
    return np.ascontiguousarray(array, dtype=np.float32)


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
