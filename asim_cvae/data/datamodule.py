"""An archive's frames for training, validation and scoring, as a LightningDataModule."""

import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from asim_cvae.archive.remote import Root, as_root
from asim_cvae.base.engine import Engine
from asim_cvae.base.errors import InputError
from asim_cvae.base.parallel import HERE
from asim_cvae.data.dataset import FrameDataset, as_it_is
from asim_cvae.data.sampler import EpochShuffle
from asim_cvae.frames.build import build_store, check_store
from asim_cvae.frames.representation import Representation
from asim_cvae.frames.split import validation_observations
from asim_cvae.frames.store import FrameStore
from asim_cvae.frames.tables import Tables, frames_of

log = logging.getLogger(__name__)

STORES = Path("outputs/stores")
"""Folder of the stores that are given no place."""

_ENCODING_BATCH = 100  # not the training batch: scores must not depend on it, in the last digit either
_CPU = torch.device("cpu")
_CACHES = ("auto", "device", "memory", "store")


@dataclass(frozen=True)
class ScoredFrames:
    """Frames to encode and score, sorted by file name, then frame number, and where they come from.

    ``time_utc`` is that of each frame's first sample, NaT if unknown; ``latitude`` and ``longitude`` are those of the
    ISS in degrees when the observation began, NaN if unknown; ``label`` is '' where there is none; ``data`` names the
    data as ``scores.json`` does.
    """

    dataset: FrameDataset
    file: NDArray[np.str_]
    observation_id: NDArray[np.int64]
    frame: NDArray[np.int32]
    time_utc: NDArray[np.datetime64]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    label: NDArray[np.str_]
    data: Mapping[str, str]

    @property
    def labels(self) -> NDArray[np.str_] | None:
        """The frames' labels, None without ground truth."""
        return self.label if len(self.label) and (self.label != "").all() else None


class MMIADataModule(pl.LightningDataModule):
    """Serves sliced frames of an archive of MMIA files, (B, 3, T) as a representation gives them.

    Args:
        representation: makes what the network sees of a frame's flux.
        root: folder of the files to train on, or its address.
        ground_truth: ``root`` and ``table`` of the files to score on; see :func:`asim_cvae.frames.build.build_store`.
        store: folder of the frame store, by default one below ``outputs/stores`` named after the folders. A store that
            is given alone is used as it is.
        batch_size: frames a step on each device; fewer where there are no more.
        validation_fraction: share of the observations to validate on; one observation at least.
        split_seed: seed by which these observations are drawn.
        cache: place where frames are kept: 'device' (that trains), 'memory', 'store' (frames are read when they are
            asked for), or 'auto': the device where they fill half of its free memory at most, else memory up to
            ``memory_gb``, else the store.
        memory_gb: size in GB up to which 'auto' keeps the frames of a split in memory, in each device's process.
        num_workers: processes that read frames ahead where none are cached; 0 reads them in this process.
        file_workers: processes that read files, by default as many as there are cores, fewer for few files.
        seed: seed of the order of training frames.
    """

    def __init__(
        self,
        representation: Representation,
        root: str | Path | None = None,
        ground_truth: Mapping[str, Any] | None = None,
        store: str | Path | None = None,
        batch_size: int = 100,
        validation_fraction: float = 0.1,
        split_seed: int = 0,
        cache: str = "auto",
        memory_gb: float = 8.0,
        num_workers: int = 0,
        file_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"data.batch_size must be 1 or more, not {batch_size}")
        if cache not in _CACHES:
            raise InputError(f"data.cache={cache}: one of {', '.join(_CACHES)}")
        self.representation = representation
        self.root = _root(root)
        self.ground_truth_root = _root((ground_truth or {}).get("root"))
        self.ground_truth_table = _path((ground_truth or {}).get("table"))
        self.store_path = _path(store) or self._default_store()
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.split_seed = split_seed
        self.cache = cache
        self.memory_gb = memory_gb
        self.num_workers = num_workers
        self.file_workers = file_workers
        self.seed = seed
        self._prepared = False
        self._split_digest = ""
        self.train_rows = self.validation_rows = np.zeros(0, dtype=np.int64)

    def prepare_data(self, check: bool = False, compact: bool = False, engine: Engine = HERE) -> None:
        """Bring the store up to date with the files; see :func:`asim_cvae.frames.build.build_store`.

        Raises:
            InputError: the files cannot be used, or give no frame; a store that is given alone is to be compacted, or
                is damaged.
        """
        if self._prepared:
            return
        if self.root is None and self.ground_truth_root is None and self.store_path.exists():
            if compact:
                raise InputError("compact: needs the folders that the store is made from; give data.root as well")
            if check:
                check_store(self.store_path)
            return
        places = (self.root, self.ground_truth_root, self.ground_truth_table)
        report = build_store(self.store_path, *places, self.file_workers, check, compact, engine)
        for line in report.lines():
            log.info(line)
        if why := report.why_no_frames():
            raise InputError(f"{self.root or self.ground_truth_root}: {why}")
        self._prepared = True

    def setup(self, stage: str) -> None:
        """Open the store and, to fit, split its observations.

        Raises:
            InputError: there are too few observations to train on.
        """
        self.store = FrameStore(self.store_path)
        self.table = self.store.table
        if stage == "fit":
            self._split(self.table)

    def teardown(self, stage: str) -> None:
        """Close the store; whatever is read later opens it again."""
        self.store.close()

    def _split(self, table: Tables) -> None:
        known = table.observations["key"].tolist()
        keys = {i: known[i] for i in np.unique(table.observation).tolist() if not table.ground_truth[i]}
        validation = validation_observations(keys.values(), self.validation_fraction, self.split_seed)
        chosen = np.array([keys.get(i) in validation for i in range(len(known))], dtype=bool)
        usable = ~table.ground_truth[table.observation]
        self.validation_rows = np.flatnonzero(usable & chosen[table.observation])
        self.train_rows = np.flatnonzero(usable & ~chosen[table.observation])
        rows, files = dict(frames_of(table)), table.observations["file"].tolist()
        split = [(files[i], table.frame[rows[i]].tolist(), keys[i] in validation) for i in keys]
        self._split_digest = hashlib.sha256(repr(split).encode()).hexdigest()[:8]
        log.info(
            "%d frames to train on, %d of %d observations to validate on",
            *(len(self.train_rows), len(validation), len(set(keys.values()))),
        )
        if len(self.train_rows) < self.batch_size:
            log.info("batches of %d frames, not %d: there are no more", len(self.train_rows), self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Digest of the frames that are trained and validated on, for checkpoints."""
        return {"frames": self._split_digest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Make sure that a run goes on with the frames it began with.

        Raises:
            InputError: its folders hold others by now.
        """
        if self._split_digest and state_dict["frames"] != self._split_digest:
            raise InputError(
                f"{self.root or self.store_path}: frames to train or validate on have gone or been added since this "
                "run began; bring back the files that it had, or begin another run"
            )

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Shuffled batches, of several devices each its share; the last partial one is dropped."""
        process, processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        share = len(self.train_rows) // processes
        if not share:
            raise InputError(f"{len(self.train_rows)} frames to train on are too few for {processes} devices")
        dataset = self._dataset(self.train_rows, self._device())
        batch = min(self.batch_size, share)
        prefetch = None if dataset.is_cached else dataset.prefetch
        order = EpochShuffle(len(self.train_rows), self.seed, process, processes, prefetch, ahead=batch)
        return self._loader(dataset, batch, sampler=order, drop_last=True)

    def val_dataloader(self) -> DataLoader[Tensor]:
        """All validation frames, on every device."""
        return self.frames_loader(self._dataset(self.validation_rows, self._device()))

    def training_frames(self) -> DataLoader[Tensor]:
        """All training frames in order, read from the store as they are asked for."""
        return self.frames_loader(FrameDataset(self.store, self.train_rows, self.representation, None))

    def frames_loader(self, dataset: FrameDataset) -> DataLoader[Tensor]:
        """All frames of ``dataset`` in order."""
        return self._loader(dataset, _ENCODING_BATCH)

    def _loader(self, dataset: FrameDataset, batch: int, **how: Any) -> DataLoader[Tensor]:
        num_workers = 0 if dataset.is_cached else self.num_workers
        # Spawned, not forked: torch's threads do not survive a fork.
        context = "spawn" if num_workers else None
        return DataLoader(
            dataset, batch, num_workers=num_workers, multiprocessing_context=context, collate_fn=as_it_is,
            persistent_workers=num_workers > 0, pin_memory=num_workers > 0 and torch.cuda.is_available(), **how,
        )  # fmt: skip

    def scored_frames(self) -> ScoredFrames:
        """The labelled frames, or all of the ground truth where it has no labels.

        Without ground truth, the validation frames, and all frames where there was no fit.
        """
        table = self.table
        if table.is_labelled:
            chosen = table.label != ""
        elif table.ground_truth.any():
            chosen = table.ground_truth[table.observation]
        else:
            log.info("no ground truth: clusters cannot be scored")
            rows = self.validation_rows if len(self.validation_rows) else np.arange(len(table.frame))
            chosen = np.isin(np.arange(len(table.frame)), rows)
        rows = np.flatnonzero(chosen)
        rows = rows[np.lexsort((table.frame[rows], table.file[rows]))]
        simulator = next(filter(None, table.observations["simulator"].tolist()), "")
        return ScoredFrames(
            dataset=self._dataset(rows, _CPU),
            file=table.file[rows],
            observation_id=table.of_frames("observation_id")[rows],
            frame=table.frame[rows],
            time_utc=table.time[rows],
            latitude=table.of_frames("latitude")[rows],
            longitude=table.of_frames("longitude")[rows],
            label=table.label[rows],
            data={
                "kind": "simulated" if simulator else "mmia",
                "name": self._data_name(),
                "version": simulator,
                "digest": _digest(table.file[rows], table.frame[rows], table.label[rows]),
            },
        )

    def _device(self) -> torch.device:
        """Device that trains."""
        return self.trainer.strategy.root_device if self.trainer else _CPU

    def _dataset(self, rows: NDArray[np.int64], device: torch.device) -> FrameDataset:
        size = 4 * len(rows) * math.prod(self.representation.shape)
        fits = {"device": size <= _room(device), "memory": size <= self.memory_gb * 1e9, "store": True}
        place = next(name for name, room in fits.items() if room) if self.cache == "auto" else self.cache
        return FrameDataset(self.store, rows, self.representation, {"device": device, "memory": _CPU}.get(place))

    def _default_store(self) -> Path:
        places = [_resolved(place) for place in (self.root, self.ground_truth_root, self.ground_truth_table)]
        name = next((place.name for place in places if place is not None), "frames")
        digest = hashlib.sha256("\n".join(map(str, places)).encode()).hexdigest()[:8]
        return STORES / f"{name}-{digest}"

    def _data_name(self) -> str:
        named = _resolved(self.ground_truth_root or self.root or self.store_path)
        assert named is not None
        return named.name


def _digest(*columns: NDArray[Any]) -> str:
    """Eight letters that tell one set of files, frames and labels from another."""
    rows = "\n".join(" ".join(map(str, row)) for row in zip(*columns, strict=True))
    return hashlib.sha256(rows.encode()).hexdigest()[:8]


def _room(device: torch.device) -> float:
    """Bytes of a GPU's memory that frames may fill."""
    return torch.cuda.mem_get_info(device)[0] / 2 if device.type == "cuda" else 0


def _root(value: str | Path | None) -> Root | None:
    return as_root(value) if isinstance(value, str) else value and value.expanduser()


def _resolved(place: Root | None) -> Root | None:
    """A folder by its whole path, whose last part is its name even where it was given as '.'."""
    return place.resolve() if isinstance(place, Path) else place


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value).expanduser()
