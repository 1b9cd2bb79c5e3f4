"""YAML whose mistakes are errors instead of other values than the reader sees."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tlpot.errors import ConfigError


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
