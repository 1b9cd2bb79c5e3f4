"""A pickled torch module as plain data: nothing of the file is ever imported, built or called.

A torch file is a zip archive of a pickle and of raw numbers. A pickle is a program for a stack
machine; here the machine keeps record of what would be called instead of calling it. Tensors are
then taken from the record with numpy. TorchScript within the file stays bytes.
"""

from __future__ import annotations

import math
import os
import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlpot.errors import ModelFileError

MOST_BYTES = 8 * 2**30
"""Unpacked size of a file that is read; the largest MACE that is published has some 200 MB."""
MOST_OPERATIONS = 5_000_000
"""Of a pickle; a MACE has some 100,000."""
DEEPEST = 100
"""Modules within modules; a MACE has 8."""

_STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?",
}  # fmt: skip


@dataclass(slots=True, eq=False)
class Recorded:
    """What a pickle names, calls or builds.

    Attributes:
        path: dotted name of the class or function.
        args: what it would be called with; None for the name alone.
        state: what it would be built with.
        items: appended to it.
        entries: set in it.
    """

    path: str
    args: tuple[Any, ...] | None = None
    state: Any = None
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit(".", 1)[-1]


@dataclass(slots=True, eq=False)
class _Storage:
    pid: Any


@dataclass(frozen=True, kw_only=True)
class Module:
    """A torch module as data.

    Attributes:
        path: dotted name of its class.
        attributes: plain Python attributes; what is no number, text, list or mapping is
            `Recorded`.
        tensors: parameters and persistent buffers by name.
        children: by name, in their order.
    """

    path: str
    attributes: Mapping[str, Any]
    tensors: Mapping[str, NDArray[Any]]
    children: Mapping[str, Module]

    @property
    def name(self) -> str:
        """Name of its class."""
        return self.path.rsplit(".", 1)[-1]

    def state(self, prefix: str = "") -> dict[str, NDArray[Any]]:
        """Returns all tensors by their dotted names, as ``state_dict`` does."""
        found = {prefix + name: value for name, value in self.tensors.items()}
        for name, child in self.children.items():
            found |= child.state(f"{prefix}{name}.")
        return found

    def within(self, path: str) -> Module | None:
        """Returns a module inside by its dotted path; None if there is none."""
        node: Module | None = self
        for part in path.split("."):
            node = None if node is None else node.children.get(part)
        return node


def read_module(path: str | os.PathLike[str]) -> Module:
    """Reads a module that ``torch.save`` wrote, without running anything of the file.

    Args:
        path: the file.

    Raises:
        ModelFileError: no such file; or it is no archive of torch, is damaged, holds no module,
            or is larger than `MOST_BYTES` when unpacked.
    """
    name = os.fspath(path)
    try:
        with zipfile.ZipFile(Path(path)) as archive:
            return _Reader(archive, name).module()
    except OSError as error:
        raise ModelFileError(f"cannot read {name}: {error.strerror or error}") from error
    except ModelFileError:
        raise
    except zipfile.BadZipFile as error:
        if _is_safetensors(name):
            raise ModelFileError(
                f"{name} is a safetensors file, expected a .model file of mace-torch 0.3; the "
                "format of MACE 1.0 is not read yet, and a model of tlpot's needs no import"
            ) from error
        raise ModelFileError(
            f"{name} is no model that torch.save wrote, or it is truncated: expected a zip archive "
            "with data.pkl inside (torch 1.6 or later); copy it again"
        ) from error
    except (
        ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError,
        MemoryError, NotImplementedError, RuntimeError, EOFError,
    ) as error:  # fmt: skip
        raise ModelFileError(
            f"{name} is damaged, or no torch module: {type(error).__name__}: {error}"
        ) from error


def _is_safetensors(path: str) -> bool:
    with Path(path).open("rb") as handle:
        head = handle.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < 10**8


class _Reader:
    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self.archive, self.name = archive, name
        size = sum(entry.file_size for entry in archive.infolist())
        if size > MOST_BYTES:
            raise ModelFileError(
                f"{name} would unpack to {size / 2**30:.1f} GiB, more than the "
                f"{MOST_BYTES // 2**30} that are read"
            )
        found = [n for n in archive.namelist() if n.endswith("/data.pkl") and n.count("/") == 1]
        if len(found) != 1:
            raise ModelFileError(
                f"{name} has {len(found)} files called data.pkl, expected one; it is no model that "
                "torch.save wrote (a TorchScript file is not read: use the .model file itself)"
            )
        self.root = found[0].partition("/")[0]
        if any(n.startswith(f"{self.root}/code/") for n in archive.namelist()):
            raise ModelFileError(
                f"{name} is a TorchScript archive, whose network is code; expected the .model file "
                "that mace-torch wrote, from which it was compiled"
            )
        self.storages: dict[str, NDArray[Any]] = {}

    def module(self) -> Module:
        top = _run(self.archive.read(f"{self.root}/data.pkl"))
        keys = list(_mapping(top))
        if keys:
            raise ModelFileError(
                f"{self.name} holds a mapping of {', '.join(map(str, keys[:5]))}, not a whole "
                "model; expected what torch.save(model) wrote (a checkpoint has no architecture: "
                "use the .model file beside it)"
            )
        if not _is_module(top):
            what = top.path if isinstance(top, Recorded) else type(top).__name__
            raise ModelFileError(f"{self.name} holds {what}, expected a torch module")
        return self._module(top, 0)

    def _module(self, node: Recorded, depth: int) -> Module:
        if depth > DEEPEST:
            raise ModelFileError(f"{self.name}: modules are nested more than {DEEPEST} deep")
        state = node.state
        passing = state.get("_non_persistent_buffers_set")
        passing = set(_plain(passing) or ()) if passing is not None else set()
        tensors = {}
        for group in ("_parameters", "_buffers"):
            for key, value in _mapping(state.get(group)).items():
                array = self._tensor(value)
                if array is not None and key not in passing:
                    tensors[str(key)] = array
        children = {
            str(key): self._module(child, depth + 1)
            for key, child in _mapping(state.get("_modules")).items()
            if _is_module(child)
        }
        attributes = {
            str(key): self._value(value) for key, value in state.items() if str(key)[:1] != "_"
        }
        return Module(path=node.path, attributes=attributes, tensors=tensors, children=children)

    def _value(self, value: Any, depth: int = 0) -> Any:
        """Returns an attribute with its tensors read and its containers plain."""
        if depth > DEEPEST:
            raise ModelFileError(f"{self.name}: attributes are nested more than {DEEPEST} deep")
        array = self._tensor(value)
        if array is not None:
            return array
        if isinstance(value, Recorded):
            plain = _plain(value)
            return value if plain is None else self._value(plain, depth + 1)
        if isinstance(value, list | tuple | set):
            return type(value)(self._value(v, depth + 1) for v in value)
        if isinstance(value, dict):
            return {k: self._value(v, depth + 1) for k, v in value.items()}
        return value

    def _tensor(self, value: Any) -> NDArray[Any] | None:
        if not isinstance(value, Recorded) or value.args is None:
            return None
        if value.path == "torch._utils._rebuild_parameter":
            return self._tensor(value.args[0])
        if value.path not in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            return None
        storage, offset, size, stride = value.args[:4]
        data = self._storage(storage)
        numbers = (offset, *size, *stride)
        if not all(isinstance(n, int) and n >= 0 for n in numbers) or len(size) != len(stride):
            raise ValueError("a tensor with a shape that makes no sense")
        last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if all(size) and offset + last >= len(data):
            raise ValueError("a tensor that reaches beyond its storage")
        if math.prod(size) > max(len(data), 1):
            raise ValueError("a tensor of more numbers than its storage has")
        steps = [step * data.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(data[offset:], size, steps).copy()

    def _storage(self, storage: Any) -> NDArray[Any]:
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        kind, cls, key, _, count = storage.pid
        if kind != "storage" or not isinstance(key, str):
            raise ValueError(f"a persistent {kind!r}")
        if key not in self.storages:
            dtype = np.dtype(_STORAGES[cls.name])
            raw = self.archive.read(f"{self.root}/data/{key}")
            self.storages[key] = np.frombuffer(raw[: count * dtype.itemsize], dtype)
        return self.storages[key]


def _is_module(node: Any) -> bool:
    return (
        isinstance(node, Recorded)
        and isinstance(node.state, dict)
        and "_modules" in node.state
        and node.args is not None
    )


def _mapping(value: Any) -> dict[Any, Any]:
    """Returns a dictionary, or an ordered one that the pickle built."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Recorded) and value.path == "collections.OrderedDict":
        return value.entries
    return {}


def _plain(value: Any) -> Any:
    """Returns what a recorded call of a harmless builder would give; None if it is none of them."""
    if not isinstance(value, Recorded) or value.args is None:
        return value if not isinstance(value, Recorded) else None
    if value.path == "collections.OrderedDict":
        return value.entries
    if value.path in ("builtins.set", "__builtin__.set", "builtins.frozenset"):
        return [item for argument in value.args for item in argument]
    if value.path in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"):
        return _numpy_scalar(*value.args)
    if value.path.startswith("e3nn.o3._irreps.") and len(value.args) == 1:
        return value.args[0]
    return None


def _numpy_scalar(dtype: Any, raw: Any) -> Any:
    code = dtype.args[0]
    if code not in ("f8", "f4", "i8", "i4", "b1"):
        raise ValueError(f"a numpy scalar of type {code!r}")
    if isinstance(raw, Recorded) and raw.path == "_codecs.encode" and raw.args:
        raw = raw.args[0]
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    return np.frombuffer(data, np.dtype("<" + code))[0].item()


_PUSH = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING", "INT",
    "LONG", "FLOAT", "UNICODE", "STRING",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set}


def _run(program: bytes) -> Any:
    """Runs a pickle on records: what it would build, as dictionaries, lists and `Recorded`."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        taken = stack[start:]
        del stack[start:]
        return taken

    for count, (operation, argument, _) in enumerate(pickletools.genops(program)):
        name, text = operation.name, str(argument)
        if count > MOST_OPERATIONS:
            raise ValueError(f"a pickle of more than {MOST_OPERATIONS} operations")
        if name in _PUSH:
            stack.append(argument)
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[int(text)])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(text)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name == "MARK":
            marks.append(len(stack))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            n = _TUPLES[name]
            stack[-n:] = [tuple(stack[-n:])]
        elif name in ("TUPLE", "LIST"):
            taken = since_mark()
            stack.append(tuple(taken) if name == "TUPLE" else taken)
        elif name == "GLOBAL":
            stack.append(Recorded(text.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(Recorded(f"{module}.{attribute}"))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            stack.append(Recorded(function.path, args=tuple(arguments)))
        elif name == "NEWOBJ_EX":
            _, arguments, function = stack.pop(), stack.pop(), stack.pop()
            stack.append(Recorded(function.path, args=tuple(arguments)))
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Recorded):
                stack[-1].state = state
        elif name == "APPEND":
            item = stack.pop()
            _items(stack[-1]).append(item)
        elif name == "APPENDS":
            taken = since_mark()
            _items(stack[-1]).extend(taken)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _entries(stack[-1])[key] = value
        elif name in ("SETITEMS", "DICT"):
            taken = since_mark()
            if name == "DICT":
                stack.append({})
            _entries(stack[-1]).update(zip(taken[::2], taken[1::2], strict=True))
        elif name == "ADDITEMS":
            taken = since_mark()
            stack[-1].update(taken)
        elif name == "BINPERSID":
            stack.append(_Storage(stack.pop()))
        elif name == "POP":
            stack.pop()
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"a pickle operation {name}, which no torch file needs")
    raise ValueError("a pickle without an end")


def _items(target: Any) -> list[Any]:
    return target.items if isinstance(target, Recorded) else target


def _entries(target: Any) -> dict[Any, Any]:
    return target.entries if isinstance(target, Recorded) else target
