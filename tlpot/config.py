"""Settings: strict YAML, mappings into frozen dataclasses, and what differs between two records."""

from __future__ import annotations

import builtins
import dataclasses
import functools
import inspect
import math
import os
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import yaml

from tlpot.errors import ConfigError, nearest


def parse_yaml(text: str, where: str) -> Any:
    """Reads YAML.

    Args:
        text: what to read.
        where: the file or setting, for messages.

    Raises:
        ConfigError: it is not YAML; a key stands twice in one section; or a number is written
            so that YAML 1.1 means another by it: ``010`` is 8, ``1:30`` is 90.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None and "\n" in text else ""
        how = "" if isinstance(error, yaml.constructor.ConstructorError) else " is not valid YAML"
        raise ConfigError(f"{where}{line}{how}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {error}") from error


class _Loader(yaml.SafeLoader):
    """The safe loader with stricter mappings and whole numbers."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Any:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        line = key.start_mark.line + 1
        if key.value in seen:
            raise yaml.constructor.ConstructorError(
                problem=f"the key {key.value!r} is given twice in one section, first in line "
                f"{seen[key.value]}; remove one",
                problem_mark=key.start_mark,
            )
        seen[key.value] = line
    return yaml.SafeLoader.construct_yaml_map(loader, node)


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    number = yaml.SafeLoader.construct_yaml_int(loader, node)
    if ":" in node.value or re.fullmatch(r"[-+]?0[0-9_]+", node.value):
        raise yaml.constructor.ConstructorError(
            problem=f"{node.value} means {number} in YAML; write the number in full, or text in "
            "quotes",
            problem_mark=node.start_mark,
        )
    return number


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], *, first: Sequence[str] = ()
) -> list[str]:
    """Returns ``key was 1, is 2`` for each entry that differs, sections as ``section.key``.

    An entry that is not there is one that is None.

    Args:
        old: what was recorded, as plain JSON.
        new: what is given, as plain JSON.
        first: keys, or sections, that are named before all others.
    """
    before, now = _flat(old), _flat(new)
    keys = [key for key in before.keys() | now.keys() if before.get(key) != now.get(key)]

    def rank(key: str) -> tuple[int, str]:
        leading = [k for k, name in enumerate(first) if key == name or key.startswith(f"{name}.")]
        return (leading[0] if leading else len(first)), key

    return [
        f"{key} was {_said(before.get(key))}, is {_said(now.get(key))}"
        for key in sorted(keys, key=rank)
    ]


def _said(value: Any) -> str:
    return "not set" if value is None else repr(value)


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


T = TypeVar("T")

LARGEST_SEED = 2**63 - 1
"""Every generator of random numbers here takes it."""


class Settings(dict[str, Any]):
    """Keys and values with the file that they are from, for messages.

    Attributes:
        where: the file, or the job that they are settings of.
    """

    where: str = "configuration"


def _named(settings: Mapping[str, Any], where: str) -> Settings:
    named = Settings(settings)
    named.where = where
    return named


def job_settings(
    config: str | os.PathLike[str] | Mapping[str, Any] | None, job: str, **given: Any
) -> Settings:
    """Returns the settings of a job: those of `config`, and what is given, which wins.

    Sections are joined key by key. A section with another ``name`` is another thing, whose
    settings are none of the first: it is taken instead.

    Args:
        config: a YAML file, what is in one, or nothing.
        job: what it is for, where no file is named.
        given: by key; None is for what is not given.

    Raises:
        ConfigError: the file cannot be read, or is no YAML.
    """
    if config is None or isinstance(config, Mapping):
        settings = _named(config or {}, getattr(config, "where", job))
    else:
        settings = read_yaml(config)
    given = {key: to_mapping(value) for key, value in given.items() if value is not None}
    return _named(_joined(settings, given), settings.where)


def _joined(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(before)
    for key, value in given.items():
        there = joined.get(key)
        if isinstance(value, Mapping) and isinstance(there, str):
            there = {"name": there}  # as a strategy may be written
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            same = value.get("name", there.get("name")) == there.get("name")
            joined[key] = _joined(there, value) if same else dict(value)
        else:
            joined[key] = value
    return joined


P = ParamSpec("P")
R = TypeVar("R")


def configured(function: Callable[P, R]) -> Callable[P, R]:
    """Lets the argument ``config`` of a job hold any of the others; its signature says which.

    Raises:
        ConfigError: an unknown key, a value of a wrong type, or an argument that is missing.
    """
    parameters = inspect.signature(function).parameters
    names = {name for name in parameters if name not in ("config", "progress")}

    @functools.wraps(function)
    def run(*args: P.args, **options: P.kwargs) -> R:
        given = dict(zip(parameters, args, strict=False)) | options
        settings = job_settings(given.pop("config", None), function.__name__)  # type: ignore[arg-type]
        for key, value in settings.items():
            if key not in names:
                raise ConfigError(f"{settings.where}: unknown key {key!r}{nearest(key, names)}")
            hint = _plain_hint(parameters[key].annotation)
            given.setdefault(key, _convert(hint, value, f"{settings.where}: {key}"))
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty and name not in given:
                raise ConfigError(f"{settings.where}: {name} is required, as argument or in config")
        return function(**given)  # type: ignore[arg-type, call-arg]

    return run


def numbers_checked(function: Callable[P, R]) -> Callable[P, R]:
    """Lets a job refuse what is no number where its signature, in words, has numbers only.

    Raises:
        ConfigError: such as ``"300K"`` for ``float``, or 2.5 for ``int``.
    """
    parameters = inspect.signature(function).parameters
    kinds = {name: {*str(p.annotation).split(" | ")} - {"None"} for name, p in parameters.items()}

    @functools.wraps(function)
    def run(*args: P.args, **options: P.kwargs) -> R:
        for name, value in (dict(zip(parameters, args, strict=False)) | options).items():
            kind = kinds.get(name, set())
            if value is None or not kind or not kind <= {"int", "float"}:
                continue
            number = isinstance(value, typing.SupportsFloat) and not isinstance(value, bool)
            if not number or ("float" not in kind and float(value) % 1 != 0):  # type: ignore[arg-type]
                wanted = "a number" if "float" in kind else "a whole number"
                raise ConfigError(f"{name} is {value!r}, expected {wanted}")
        return function(*args, **options)

    return run


class _AnyNames(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Any)


def _plain_hint(annotation: Any) -> Any:
    """Returns an annotation in which what is no plain type stands for anything."""
    if not isinstance(annotation, str):
        return annotation
    known = _AnyNames(Mapping=Mapping, Sequence=Sequence, Literal=typing.Literal)
    return eval(annotation, {}, known)


def read_yaml(path: str | os.PathLike[str]) -> Settings:
    """Reads a YAML file whose top level is a mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, gives a key twice, or is not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"cannot read the configuration {path}: {why}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the configuration {path} is not UTF-8 text; save it so") from error
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected 'key: value' pairs at the top level")
    return _named(content, str(path))


def with_overrides(settings: Mapping[str, Any], overrides: Sequence[str]) -> Settings:
    """Returns `settings` with ``key.path=value`` overrides from the command line applied.

    Values are read as YAML, so ``training.epochs=50`` is a number and ``levels=[a,b]`` a list.

    Raises:
        ConfigError: an override has no ``=``, or goes through something that is not a mapping.
    """
    result = _named(
        {k: dict(v) if isinstance(v, Mapping) else v for k, v in settings.items()},
        getattr(settings, "where", Settings.where),
    )
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"override {override!r} is not of the form key.path=value")
        *parents, last = key.split(".")
        node: dict[str, Any] = result
        for name in parents:
            child = node.get(name)
            child = {} if child is None else child
            if not isinstance(child, Mapping):
                raise ConfigError(f"override {override!r}: {name!r} is not a section")
            node[name] = dict(child)
            node = node[name]
        node[last] = parse_yaml(text, f"override {override!r}")
    return result


def parse(cls: type[T], settings: Mapping[str, Any], where: str = "configuration") -> T:
    """Builds the dataclass `cls` from a mapping, strictly.

    Args:
        cls: a dataclass; nested dataclasses, tuples, lists, mappings, Literals and unions
            with None are understood. One name stands for a list of one.
        settings: keys are field names.
        where: the file or section, for messages.

    Raises:
        ConfigError: an unknown key (with the nearest valid one), a missing key, a wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in _written(cls) if f.init}
    for key in settings:
        if key not in fields:
            hint = _deeper(str(key), cls, hints, settings) or nearest(str(key), fields)
            raise ConfigError(f"{where}: unknown key {key!r}{hint}")
    values: dict[str, Any] = {}
    for name, spec in fields.items():
        if name in settings:
            values[name] = _convert(hints[name], settings[name], f"{where}: {name}")
            if name == "seed" or name.endswith("_seed"):
                _check_seed(values[name], f"{where}: {name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: the key {name!r} is required")
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _deeper(key: str, cls: type, hints: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Returns a hint for a key that belongs into a section, or nothing.

    The keys of a section that is a mapping are those of the dataclass in the field's metadata
    under ``section``, if there is one.
    """
    places = []
    for spec in dataclasses.fields(cls):
        section, hint = spec.name, hints[spec.name]
        kinds = [
            kind
            for kind in (hint, *typing.get_args(hint), spec.metadata.get("section"))
            if dataclasses.is_dataclass(kind)
        ]
        fields = {f.name for kind in kinds for f in dataclasses.fields(kind) if f.init}
        content = settings.get(section)
        if key in fields or (isinstance(content, Mapping) and key in content):
            places.append(f"{section}.{key}")
    return f"; did you mean {' or '.join(places)}?" if places else ""


def _check_seed(seed: Any, where: str) -> None:
    if isinstance(seed, int) and not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"{where} is {seed}, expected 0 to {LARGEST_SEED}")


IN_MEMORY: Mapping[str, Any] = {"in memory": True}
"""Metadata of a field for an object that no file can hold: `parse` knows no key for it, and
`to_mapping` leaves it out."""


LATER: Mapping[str, Any] = {"later": True}
"""Metadata of a setting that came later: `to_mapping` leaves it out at its default, so that runs
from before it keep their identity and go on."""


def _written(config: Any) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(config) if "in memory" not in f.metadata]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def to_mapping(config: Any) -> Any:
    """Returns plain dicts, lists and scalars for JSON or YAML; the inverse of `parse`."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {
            f.name: to_mapping(getattr(config, f.name))
            for f in _written(config)
            if not ("later" in f.metadata and getattr(config, f.name) == _default(f))
        }
    if isinstance(config, Mapping):
        return {str(key): to_mapping(value) for key, value in config.items()}
    if isinstance(config, tuple | list | set | frozenset):
        return [to_mapping(value) for value in config]
    if isinstance(config, float):
        return float(config)  # which may be of a class that no file knows
    return str(config) if isinstance(config, os.PathLike) else config


def listed(given: Any, *, commas: bool = False) -> tuple[Any, ...]:
    """Returns one text or path, or several, as a tuple; with `commas` a text may hold several."""
    if isinstance(given, str) and commas:
        return tuple(word.strip() for word in given.split(","))
    return (given,) if isinstance(given, str | os.PathLike) else tuple(given)


def check_least(settings: object, **least: float) -> None:
    """Checks numbers of a configuration, as in ``check_least(self, steps=1, seed=0)``; None passes.

    Raises:
        ConfigError: one is smaller than that, infinite, or NaN.
    """
    for name, low in least.items():
        value = getattr(settings, name)
        if value is not None and not low <= value < math.inf:
            raise ConfigError(f"{name} is {value}, expected {low} or more")


def check_seed(seed: int, name: str = "seed") -> None:
    """Checks the seed of a random-number generator.

    Raises:
        ConfigError: it is negative, or too large for one of the generators in use.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"{name} is {seed}, expected a whole number from 0 to {LARGEST_SEED}")


def check_positive(settings: object, *names: str) -> None:
    """Checks numbers of a configuration; None passes.

    Raises:
        ConfigError: one is zero, negative, infinite, or NaN.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{name} is {value}, expected a positive number")


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is typing.Literal:
        if value not in arguments:
            options = [str(option) for option in arguments]
            raise ConfigError(f"{where} is {value!r}{nearest(str(value), options)}")
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a section of 'key: value' pairs, not {value!r}")
        return parse(typing.cast(type, hint), value, where)
    if origin in (tuple, list, Sequence):
        item = arguments[0] if arguments else Any
        if isinstance(value, str) and _holds_text(item):
            value = [value]  # one name is a list of one
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigError(f"{where} must be a list such as [a, b], not {value!r}")
        make = tuple if origin is tuple else list
        return make(_convert(item, entry, f"{where}[{k}]") for k, entry in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be 'key: value' pairs, not {value!r}")
        key_hint, item = arguments
        return {
            _convert(key_hint, k, where): _convert(item, v, f"{where}.{k}")
            for k, v in value.items()
        }
    return _convert_scalar(hint, value, where)


def _convert_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    if str in options and isinstance(value, str):
        return value
    errors = []
    for option in (o for o in options if o is not type(None)):
        try:
            return _convert(option, value, where)
        except ConfigError as error:
            errors.append(str(error))
    lead, tail = f"{where} must be ", f", not {value!r}"
    if inner := [e for e in errors if not (e.startswith(lead) and e.endswith(tail))]:
        raise ConfigError(inner[-1])  # what is wrong inside says more
    raise ConfigError(lead + " or ".join(e[len(lead) : -len(tail)] for e in errors) + tail)


def _holds_text(hint: Any) -> bool:
    return hint in (str, Path) or str in typing.get_args(hint)


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and not isinstance(value, bool):
        # YAML 1.1 reads 1e-3 (no dot) as text
        try:
            number = float(value)
        except (TypeError, ValueError):
            pass
        else:
            if math.isnan(number):
                raise ConfigError(f"{where} is {value!r}, expected a number")
            return number
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where} must be {hint.__name__}, not {value!r}")
