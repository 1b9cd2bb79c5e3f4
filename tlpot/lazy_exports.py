"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any


def lazy_exports(package: str) -> Callable[[str], Any]:
    """Returns the ``__getattr__`` of a package that lists its names under ``if TYPE_CHECKING:``.

    Type checkers see plain imports, and using one name does not import the modules of all others:
    listing models must not load torch. A name that is also that of its module has to be
    imported eagerly, because importing the module would put that in its place.

    Args:
        package: ``__name__`` of the caller.
    """

    @cache
    def places() -> dict[str, str]:
        source = Path(str(sys.modules[package].__file__)).read_text(encoding="utf-8")
        listed = (node for node in ast.parse(source).body if isinstance(node, ast.If))
        return {
            alias.asname or alias.name: str(statement.module)
            for node in listed
            for statement in node.body
            if isinstance(statement, ast.ImportFrom)
            for alias in statement.names
        }

    def get(name: str) -> Any:
        module = None if name.startswith("__") else places().get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(module), name)
        setattr(sys.modules[package], name, value)
        return value

    return get
