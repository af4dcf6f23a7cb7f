"""Write and read a run's ``config.yaml``, which anyone may have made before it is read again."""

from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from asim_cvae.base.documents import read_text
from asim_cvae.base.errors import InputError, first_line, shown
from asim_cvae.base.files import atomic_write
from asim_cvae.settings.schema import check_config, declared_settings, lacking_names

CONFIG = "config.yaml"

_MOST_BYTES = 100_000  # a run of the thesis's network has 2,000
_MOST_DEEP = 50  # levels of nesting
_MOST_LONG = 3000  # characters of a value


def read_config(folder: Path) -> DictConfig:
    """Read a run's configuration as plain, resolved values: nothing in it is looked up, made or run.

    Raises:
        InputError: there is none, or it is larger or deeper than a configuration, or holds anything but plain values.
        OSError: it cannot be read.
    """
    path = folder / CONFIG
    return _parsed(path, read_text(path, _MOST_BYTES))


def write_config(folder: Path, config: DictConfig) -> None:
    """Write the resolved configuration as ``config.yaml``, without the packages that the user trusts.

    Raises:
        InputError: :func:`read_config` would not read it.
    """
    saved = resolved(config)
    saved.trust = []  # whoever resumes the run decides anew whom to trust
    text = OmegaConf.to_yaml(saved)
    _parsed(folder / CONFIG, text)
    with atomic_write(folder / CONFIG) as partial:
        partial.write_text(text, encoding="utf-8")


def resolved(config: DictConfig) -> DictConfig:
    """Return a configuration in which each value stands for itself."""
    return OmegaConf.create(OmegaConf.to_container(config, resolve=True))  # type: ignore[return-value]


def _parsed(path: Path, text: str) -> DictConfig:
    try:
        if len(text.encode()) > _MOST_BYTES:
            raise InputError(f"more than {_MOST_BYTES:,} bytes")
        _refuse_lookups(text)
        config = OmegaConf.create(text)
        if not isinstance(config, DictConfig):
            raise InputError("has to hold settings by name")
        plain: dict[str, Any] = OmegaConf.to_container(config)  # type: ignore[assignment]
        _refuse_odd_values(plain)
        section = declared_settings()["train"]
        missing = sorted(str(name) for name in section.entries if name not in config)
        if missing:
            raise InputError(f"incomplete, without {', '.join(missing)}")
        if not lacking_names(section, plain):  # an earlier version's run may lack some; resuming says so
            check_config(section, plain)
    except InputError as error:
        raise InputError(f"{path}: no configuration of a run: {error}") from error
    except yaml.MarkedYAMLError as error:
        place = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        raise InputError(f"{path}: no configuration of a run ({shown(error.problem)}{place})") from error
    except Exception as error:  # yaml and omegaconf have errors of many types
        raise InputError(f"{path}: no configuration of a run ({first_line(error)})") from error
    return config


def _refuse_lookups(text: str) -> None:
    """Raise InputError on what makes YAML more than the values that stand in it: a run's configuration has none."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MOST_DEEP:
                raise InputError("nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise InputError(f"an anchor, alias or tag in line {event.start_mark.line + 1}; write the value itself")
        if isinstance(event, yaml.ScalarEvent):
            if "${" in event.value:
                raise InputError(f"{shown(event.value)} is not resolved; write the value itself")
            if len(event.value) > _MOST_LONG:
                raise InputError(f"a value of more than {_MOST_LONG} characters")


def _refuse_odd_values(value: Any) -> None:
    """Raise InputError on a name that is no text, and on what makes no class of a ``_target_``."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise InputError(f"the name {shown(name)} is no text; quote it")
            if name == "_target_" and not (isinstance(inner, str) and all(map(str.isidentifier, inner.split(".")))):
                raise InputError(f"_target_={shown(inner)}: has to be the full name of a class")
            if name == "_partial_" and not isinstance(inner, bool | None):
                raise InputError(f"_partial_={shown(inner)}: has to be true or false")
            _refuse_odd_values(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_odd_values(inner)
