"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import ast
import gc
import importlib
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any


def lazy_exports(package: str) -> Callable[[str], Any]:
    """Returns the ``__getattr__`` of a package that lists its names under ``if TYPE_CHECKING:``.

    Type checkers see plain imports, and using one name does not import the modules of all others:
    listing models must not load torch.

    Args:
        package: ``__name__`` of the caller.
    """
    sys.modules[package].__class__ = _LazyPackage

    def get(name: str) -> Any:
        module = None if name.startswith("__") else _places(package).get(name)
        if module is None:
            if name.startswith("_") or not find_spec(f"{package}.{name}"):
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
            return _imported(f"{package}.{name}")  # tlpot.models after `import tlpot`
        value = getattr(_imported(module), name)
        setattr(sys.modules[package], name, value)
        return value

    return get


def _imported(module: str) -> ModuleType:
    """Imports a module, with what it needs, without looking for garbage meanwhile.

    Nearly all that is made stays; looking through it and through torch's modules, again and again,
    takes a quarter of the time.
    """
    if not gc.isenabled():
        return importlib.import_module(module)
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.enable()


class _LazyPackage(ModuleType):
    """A package in which a function wins over the module of the same name that it is from."""

    def __setattr__(self, name: str, value: Any) -> None:
        # importing a module puts it into its package
        if not isinstance(value, ModuleType) or name not in _places(self.__name__):
            super().__setattr__(name, value)


@cache
def _places(package: str) -> dict[str, str]:
    """Returns the module of each name that a package lists."""
    source = Path(str(sys.modules[package].__file__)).read_text(encoding="utf-8")
    return {
        alias.asname or alias.name: str(statement.module)
        for node in ast.parse(source).body
        if isinstance(node, ast.If)
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
