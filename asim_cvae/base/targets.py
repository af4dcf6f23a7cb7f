"""Find classes that configurations and exports name: only in trusted packages, and only of the wanted kind."""

import importlib
import inspect
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from asim_cvae.base.errors import InputError, first_line, shown

TRUSTED = ("asim_cvae", "torch.optim", "pytorch_lightning")
"""Packages whose classes may always be named."""

TARGET = "_target_"
"""Key under which a configuration or an export names a class."""

Kind = TypeVar("Kind")


def resolve_target(target: object, kind: type[Kind], trust: Collection[str] = ()) -> type[Kind]:
    """Find the class that ``target`` names.

    Nothing outside the trusted packages is imported, and the class is not called.

    Args:
        target: full name of the class, ``package.module.Class``.
        kind: class that it has to derive from.
        trust: packages that the user trusts beside :data:`TRUSTED`.

    Raises:
        InputError: ``target`` lies outside the trusted packages, does not exist, or is no ``kind``.
    """
    if isinstance(trust, str):
        raise InputError(f"trust={trust}: has to be a list of packages, as [{trust!r}]")
    trusted = (*TRUSTED, *trust)
    if not isinstance(target, str) or not all(map(str.isidentifier, target.split("."))):
        raise InputError(f"{TARGET}={shown(target)}: has to be the full name of a class, as package.module.Class")
    if not _is_inside(target, trusted):
        raise InputError(
            f"{TARGET}={shown(target)}: lies outside of the trusted packages ({', '.join(trusted)}); "
            "trust=[PACKAGE] on the command line adds one of your own"
        )
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module can raise errors of any type
        raise InputError(f"{TARGET}={target}: cannot import {module_name} ({first_line(error)})") from error
    found = getattr(module, name, None)
    if not isinstance(found, type):
        nearest = get_close_matches(name, [key for key, value in vars(module).items() if isinstance(value, type)], 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise InputError(f"{TARGET}={target}: {module_name} has no class {name}{hint}")
    if not issubclass(found, kind) or not _is_inside(f"{found.__module__}.{name}", trusted):
        raise InputError(f"{TARGET}={target}: is no {kind.__name__}")
    if inspect.isabstract(found):
        lacking = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise InputError(f"{TARGET}={target}: is abstract, without {lacking}; name a class that has all methods")
    return found


def target_of(thing: object) -> str:
    """Return the full name of an object's class, by which :func:`resolve_target` finds it again.

    Raises:
        InputError: the class is defined in a script, a function or another class, where it cannot be found by name.
    """
    cls = type(thing)
    if cls.__qualname__ != cls.__name__ or cls.__module__ == "__main__":
        raise InputError(f"{cls.__qualname__}: an export cannot name this class; define it at the top of a module")
    return f"{cls.__module__}.{cls.__name__}"


def build_target(settings: Mapping[str, Any], kind: type[Kind], trust: Collection[str] = ()) -> Kind:
    """Make the object that ``settings`` describe: its class, under ``_target_``, and the arguments of the constructor.

    Raises:
        InputError: :func:`resolve_target` refuses the class, or it does not take these arguments.
    """
    arguments = dict(settings)
    cls = resolve_target(arguments.pop(TARGET, None), kind, trust)
    try:
        return cls(**arguments)
    except Exception as error:  # the user's own class can raise errors of any type
        raise InputError(f"{cls.__name__}: {first_line(error)}") from error


def _is_inside(name: str, packages: Collection[str]) -> bool:
    return any(name.startswith(f"{package}.") for package in packages)
