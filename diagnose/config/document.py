"""YAML → plain data, together with the line each key and list item stands on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from diagnose.errors import ConfigError, Mistake

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """`lines` counts from 1; `repeated` are keys that occur twice in one map, with the line of the second."""

    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Location, int] = field(default_factory=dict)
    repeated: tuple[tuple[Location, int], ...] = ()

    def line_of(self, location: Location) -> int | None:
        """The line of *location*, or of the nearest thing around it that is written down."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location)


def parse_document(text: str) -> Document:
    """Raises ConfigError when *text* is no YAML or no map."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Document()
        _refuse_cycles(node, ())
        places = list(_places(node, ()))
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as err:
        raise ConfigError([_unreadable(err)]) from err
    except yaml.YAMLError as err:
        raise ConfigError([Mistake("(file)", f"not YAML: {err}")]) from err
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise ConfigError([Mistake("(file)", "the file must be a map of settings", 1)])
    lines: dict[Location, int] = {}
    repeated = []
    for location, line in places:
        if location in lines and lines[location] != line:
            repeated.append((location, line))
        lines[location] = line
    return Document(data, lines, tuple(repeated))


def _places(node: yaml.Node, location: Location) -> Iterator[tuple[Location, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*location, str(key.value))
            yield below, key.start_mark.line + 1
            yield from _places(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            yield (*location, at), item.start_mark.line + 1
            yield from _places(item, (*location, at))


def _refuse_cycles(node: yaml.Node, around: tuple[yaml.Node, ...]) -> None:
    if node in around:
        raise yaml.MarkedYAMLError(problem="an alias refers to what it is part of", problem_mark=node.start_mark)
    if isinstance(node, yaml.CollectionNode):
        for child in node.value:
            for each in child if isinstance(child, tuple) else (child,):
                _refuse_cycles(each, (*around, node))


def _unreadable(err: yaml.MarkedYAMLError) -> Mistake:
    mark = err.problem_mark or err.context_mark
    reason = " ".join(part for part in (err.context, err.problem) if part)
    return Mistake("(file)", f"not YAML: {reason}", mark.line + 1 if mark else None)
