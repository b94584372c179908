"""Which classes the settings are made of, and which of them a piece of data is meant for."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from diagnose.config.document import Location
from diagnose.config.settings import Section


@dataclass(frozen=True)
class Part:
    """A map of the file, the class that describes it and where it stands."""

    kind: type[Section]
    data: dict[str, Any]
    location: Location


def bare(annotation: Any) -> Any:
    """Without `Annotated` and without `| None`."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [each for each in get_args(annotation) if each is not type(None)]
        return bare(rest[0]) if len(rest) == 1 else annotation
    return annotation


def sections_in(annotation: Any) -> list[type[Section]]:
    """The classes a value of this type may be: one, several when `type` chooses among them, or none."""
    annotation = bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for each in get_args(annotation) for kind in sections_in(each)]
    return []


def item_type(annotation: Any) -> Any:
    """What a list of this type holds; None for anything but a list."""
    annotation = bare(annotation)
    return get_args(annotation)[0] if get_origin(annotation) is list else None


def tag(kind: type[Section]) -> str | None:
    """What `type` must be for this class, if it is one of several."""
    info = kind.model_fields.get("type")
    if info is None or get_origin(info.annotation) is not Literal:
        return None
    return str(get_args(info.annotation)[0])


def parts(annotation: Any, data: Any, location: Location = ()) -> Iterator[Part]:
    """Every map in *data* that a class describes, outermost first. What has the wrong shape is left to pydantic."""
    item = item_type(annotation)
    if item is not None and isinstance(data, list):
        for at, each in enumerate(data):
            yield from parts(item, each, (*location, at))
        return
    if not isinstance(data, dict):
        return
    kinds = sections_in(annotation)
    kind = next((each for each in kinds if len(kinds) == 1 or tag(each) == data.get("type")), None)
    if kind is None:
        return
    yield Part(kind, data, location)
    for name, info in kind.model_fields.items():
        if name in data:
            yield from parts(info.annotation, data[name], (*location, name))
