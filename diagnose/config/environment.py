"""
Settings from the environment. Lists and maps are JSON.

    DIAGNOSE_SERVER__LISTEN        server.listen
    DIAGNOSE_PROMETHEUS__0__URL    the URL of the first Prometheus server
    DIAGNOSE__TARGETS              targets

Only names with `__` are settings: Kubernetes puts `DIAGNOSE_SERVICE_HOST` and the like into the environment of every
container near a service called diagnose.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, get_origin

from diagnose.config.document import Location
from diagnose.config.settings import Settings
from diagnose.config.shape import bare, item_type, sections_in, tag
from diagnose.config.values import suggestion
from diagnose.errors import Mistake

PREFIX = "DIAGNOSE_"


def with_environment(
    data: dict[str, Any], environ: Mapping[str, str]
) -> tuple[dict[str, Any], dict[Location, str], list[Mistake]]:
    """*data* with what *environ* overrides, which variable each such place came from, and what could not be used."""
    merged = copy.deepcopy(data)
    origins: dict[Location, str] = {}
    mistakes = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        try:
            location = _override(merged, name, environ[name])
        except ValueError as err:
            mistakes.append(Mistake(f"${name}", str(err)))
        else:
            origins[location] = name
    return merged, origins, mistakes


def _override(data: dict[str, Any], name: str, text: str) -> Location:
    words = name.removeprefix(PREFIX).removeprefix("_").lower().split("__")
    annotation: Any = Settings
    holder: Any = data
    location: Location = ()
    for at, word in enumerate(words):
        key, annotation = _step(annotation, holder, word, location)
        location = (*location, key)
        if at == len(words) - 1:
            holder[key] = _value(annotation, text)
        else:
            holder = _enter(holder, key, annotation)
    return location


def _step(annotation: Any, holder: Any, word: str, location: Location) -> tuple[str | int, Any]:
    """The key *word* stands for in what is at *location*, and the type of what is there."""
    item = item_type(annotation)
    if item is not None:
        if not word.isdigit() or int(word) >= len(holder):
            raise ValueError(f"{_dotted(location)} has {len(holder)} entries in the file; {word!r} is none of them")
        return int(word), item
    kinds = sections_in(annotation)
    kind = next((each for each in kinds if len(kinds) == 1 or tag(each) == holder.get("type")), None)
    if kind is None:
        raise ValueError(f"{_dotted(location)} has no settings in it; give it as JSON")
    if word not in kind.model_fields:
        where = f" in {_dotted(location)}" if location else ""
        raise ValueError(f"unknown setting {word!r}{where}{suggestion(word, list(kind.model_fields))}")
    return word, kind.model_fields[word].annotation


def _enter(holder: Any, key: str | int, annotation: Any) -> Any:
    inside = holder[key] if isinstance(key, int) else holder.get(key)
    if inside is None:
        inside = holder[key] = [] if item_type(annotation) is not None else {}
    if isinstance(inside, dict | list):
        return inside
    raise ValueError(f"{key} is {inside!r} in the file, which has nothing inside it")


def _value(annotation: Any, text: str) -> Any:
    plain = bare(annotation)
    if get_origin(plain) not in (list, dict) and not sections_in(annotation):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as err:
        raise ValueError(f"lists and maps are given as JSON: {err}") from err


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)
