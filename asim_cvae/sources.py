"""Find or simulate the files that the group ``data`` of a configuration names, and make its data module."""

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from asim_cvae.archive.discover import find_root
from asim_cvae.archive.reviews import is_label_table
from asim_cvae.base.engine import Engine
from asim_cvae.base.errors import InputError, SettingError
from asim_cvae.base.parallel import HERE
from asim_cvae.settings.quoting import pasteable

ARCHIVES = Path("outputs/archives")
"""Folder below which simulated archives are made on first use."""

log = logging.getLogger(__name__)


def check_data(data: DictConfig, is_training: bool = False) -> None:
    """Make sure that the folders and files of the group ``data`` are there, or can be simulated.

    Args:
        data: the group.
        is_training: whether files to train on are needed.

    Raises:
        SettingError: a folder or file is not there, or ``data.root`` holds something other than the archive that is to
            be simulated.
    """
    instantiate(data.simulation)
    is_simulated = data.simulation is not None and data.root is not None
    if is_simulated:
        _check_archive(data)
    elif data.root is None and data.ground_truth.root is None:
        _check_store(data)
    elif data.root is None and is_training:
        raise SettingError("data.root has to be given: Folder of the files to train on")
    else:
        _refuse_other_content(data.store)
    for name, folder in (("data.root", data.root), ("data.ground_truth.root", data.ground_truth.root)):
        if folder is not None and not (name == "data.root" and is_simulated):
            _check_root(name, folder)
    table = data.ground_truth.table
    if table is not None and not is_label_table(_path(table)) and not (is_simulated and _is_in(table, data.root)):
        raise SettingError(
            f"data.ground_truth.table={table}: no such file, or folder of journals; null for files without labels"
        )


def _check_root(name: str, folder: str) -> None:
    try:
        find_root(folder)
    except InputError as error:
        raise SettingError(f"{name}={error}") from error


def _check_store(data: DictConfig) -> None:
    if data.store is None:
        raise SettingError("no data: give data.root=FOLDER, or data.ground_truth.root=FOLDER to score alone")
    if not _path(data.store).is_dir():
        raise SettingError(f"data.store={data.store}: no such folder; give data.root=FOLDER to make it from files")
    if data.ground_truth.table is not None:
        raise SettingError(
            f"data.ground_truth.table={data.ground_truth.table}: a store that is given alone keeps its labels; "
            "give data.root=FOLDER too, to have its frames labelled anew"
        )


def _refuse_other_content(store: str | None) -> None:
    from asim_cvae.frames.build import refuse_other_content  # h5py takes a while to import

    try:
        if store is not None:
            refuse_other_content(_path(store))
    except InputError as error:
        raise SettingError(f"data.store={error}") from error


def _check_archive(data: DictConfig) -> None:
    """Raise SettingError if the root holds no simulated archive, or another one, and none can be made there."""
    from asim_cvae.simulator.archive import SETTINGS_NAME, refuse_other_archive  # scipy takes a second to import

    if "://" in data.root:
        raise SettingError(
            "data.root: simulated archives are made in folders here; for files at an address add data=mmia"
        )
    root = _path(data.root)
    if (root / SETTINGS_NAME).is_file():
        try:
            refuse_other_archive(root, instantiate(data.simulation))
        except InputError as error:
            raise SettingError(f"data.root={error}; data=mmia uses it as it is") from error
    elif root.exists() and (not root.is_dir() or any(root.glob("[!.]*"))):
        raise SettingError(f"data.root={root}: holds no simulated archive; for files of your own add data=mmia")
    elif not _is_made(root):
        simulate = pasteable("simulate", {"root": str(root)})
        raise SettingError(f"data.root={root}: no simulated archive; {simulate} makes it; data=mmia: files of your own")


def _is_made(root: Path) -> bool:
    """Tell whether a simulated archive is made at ``root`` if there is none: anywhere else, a path may be mistyped."""
    return ARCHIVES.resolve() in root.resolve().parents


def provide_archive(data: DictConfig, engine: Engine = HERE) -> None:
    """Make the simulated archive that the group ``data`` describes, if it is missing or unfinished.

    Nothing is done if the data are not simulated.

    Args:
        data: the group.
        engine: where it is made.

    Raises:
        InputError: the folder does not lie below ``outputs/archives`` and holds no archive, or it holds something else.
    """
    if data.simulation is None or data.root is None:
        return
    from asim_cvae.simulator.archive import make_archive  # scipy takes a second to import

    _check_archive(data)
    root = _path(data.root)
    log.info("data are simulated, in %s", root)
    make_archive(root, instantiate(data.simulation), data.file_workers, engine)


def make_simulation(config: DictConfig, **more: Any) -> Any:
    """Make the simulation that the settings of a command describe.

    Args:
        config: settings of the command, some of which are those of a simulation.
        more: settings of the simulation that the command does not have.

    Raises:
        SettingError: a value is out of range.
    """
    from asim_cvae.simulator.archive import Simulation  # scipy takes a second to import

    given = {field.name: config[field.name] for field in fields(Simulation) if field.name in config}
    made = {name: instantiate(value) if OmegaConf.is_config(value) else value for name, value in given.items()}
    try:
        return Simulation(**made, **more)
    except InputError as error:
        raise SettingError(str(error)) from error


def make_data(data: DictConfig, **more: Any) -> Any:
    """Make the data module that the group ``data`` describes.

    Args:
        data: the group.
        more: arguments of the data module that are no settings of the group.
    """
    settings = data.copy()
    with open_dict(settings):
        simulation = settings.pop("simulation")
        if simulation is not None and not simulation.labelled:
            settings.ground_truth.table = None  # an archive without labelled files has no label table
    return instantiate(settings, _partial_=True)(**more)


def _path(value: str) -> Path:
    return Path(value).expanduser()


def _is_in(path: str, folder: str) -> bool:
    return _path(folder).resolve() in _path(path).resolve().parents
