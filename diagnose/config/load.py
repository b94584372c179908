"""
The file, then the environment, then secrets from files → `Settings`; or every mistake at once, each with its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from diagnose.config.checks import cross_checks, read_secrets, unknown_keys
from diagnose.config.document import Document, Location, parse_document
from diagnose.config.environment import with_environment
from diagnose.config.settings import Settings
from diagnose.errors import ConfigError, Mistake

DEFAULT_FILE = Path("diagnose.yaml")


def find_file(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file *given*, else `$DIAGNOSE_CONFIG`, else diagnose.yaml here if there is one, else None: only defaults."""
    if given is not None:
        return given
    if environ.get("DIAGNOSE_CONFIG"):
        return Path(environ["DIAGNOSE_CONFIG"])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """
    The settings of the file *path* (None: see `find_file`) with overrides from *environ*.

    Relative paths start at the file's folder. Raises ConfigError with all mistakes, in the order of the file.
    """
    file = find_file(path, environ)
    document = _read(file) if file else Document()
    data, origins, mistakes = with_environment(document.data, environ)
    mistakes += [
        Mistake(_dotted(location), "given twice in the same map", line) for location, line in document.repeated
    ]
    folder = file.absolute().parent if file else Path.cwd()
    found = [*unknown_keys(data), *read_secrets(data, folder), *cross_checks(data)]
    settings = _validate(data, folder, found)
    mistakes += [_mistake(location, message, document, origins) for location, message in found]
    if mistakes or settings is None:
        raise ConfigError(sorted(dict.fromkeys(mistakes), key=lambda each: each.line or 0))
    store = settings.store.model_copy(update={"path": folder / settings.store.path})
    return settings.model_copy(update={"store": store})


def _read(file: Path) -> Document:
    try:
        return parse_document(file.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError([Mistake(str(file), f"cannot be read: {err.strerror}")]) from err
    except UnicodeDecodeError as err:
        raise ConfigError([Mistake(str(file), "is not UTF-8 text")]) from err


def _validate(data: dict[str, Any], folder: Path, found: list[tuple[Location, str]]) -> Settings | None:
    """The settings, or None after what pydantic says against *data* was added to *found*."""
    try:
        return Settings.model_validate(data, context={"folder": folder})
    except ValidationError as err:
        found += [
            (_written(error["loc"], data), _plain(error))
            for error in err.errors(include_url=False, include_input=False)
            if error["type"] != "extra_forbidden"  # said better by unknown_keys
        ]
        return None


def _written(location: tuple[str | int, ...], data: Any) -> Location:
    """
    *location* without the name pydantic adds for a choice among classes.

        (sinks, 0, file, path)  →  (sinks, 0, path)
    """
    kept: list[str | int] = []
    for at, part in enumerate(location):
        if isinstance(data, dict) and data.get("type") == part and part not in data and at < len(location) - 1:
            continue
        kept.append(part)
        data = _inside(data, part)
    return tuple(kept)


def _inside(data: Any, part: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(part)
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return None


def _plain(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    messages = {
        "missing": "is missing",
        "string_type": "must be text; put it in quotes",
        "path_type": "must be a path; put it in quotes",
        "list_type": "must be a list",
        "dict_type": "must be a map",
        "model_type": "must be a map of settings",
        "int_parsing": "must be a whole number",
        "int_type": "must be a whole number",
        "bool_parsing": "must be true or false",
        "union_tag_not_found": "type is missing",
        "union_tag_invalid": f"type {context.get('tag')!r} is not one of {context.get('expected_tags')}",
    }
    return messages.get(error["type"], error["msg"].removeprefix("Value error, ").removeprefix("Input "))


def _mistake(location: Location, message: str, document: Document, origins: Mapping[Location, str]) -> Mistake:
    for end in range(len(location), 0, -1):
        if location[:end] in origins:
            rest = location[end:]
            return Mistake(f"${origins[location[:end]]}" + (f" ({_dotted(rest)})" if rest else ""), message)
    return Mistake(_dotted(location) or "(file)", message, document.line_of(location))


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)
