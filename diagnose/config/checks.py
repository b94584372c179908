"""
What no single value can tell. Works on the data as written, so that one mistake never hides another.

Each check yields the location and the mistake; a value of the wrong type is left to pydantic, which names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diagnose.config.document import Location
from diagnose.config.settings import Settings
from diagnose.config.shape import Part, parts
from diagnose.config.values import is_loopback, split_address, suggestion

Found = Iterator[tuple[Location, str]]


def unknown_keys(data: dict[str, Any]) -> Found:
    """Keys no class has a field for, with the most similar one that exists."""
    for part in parts(Settings, data):
        known = list(part.kind.model_fields)
        for key in part.data:
            if key not in known:
                yield (*part.location, str(key)), f"unknown setting{suggestion(key, known) or _elsewhere(key)}"


def _elsewhere(key: object) -> str:
    homes = [
        f"{name}.{key}"
        for name, info in Settings.model_fields.items()
        if isinstance(info.annotation, type) and str(key) in getattr(info.annotation, "model_fields", {})
    ]
    return f"; did you mean {homes[0]}?" if homes else ""


def read_secrets(data: dict[str, Any], folder: Path) -> Found:
    """Put the content of every `x_file` into `x`, in place."""
    for part in parts(Settings, data):
        for name in part.kind.model_fields:
            if f"{name}_file" in part.kind.model_fields:
                yield from _read_secret(part, name, folder)


def _read_secret(part: Part, name: str, folder: Path) -> Found:
    file_name = f"{name}_file"
    value, file = part.data.get(name), part.data.get(file_name)
    if value is not None and file is not None:
        yield (*part.location, file_name), f"give {name} or {file_name}, not both"
    elif value is not None and not str(value).strip():
        yield (*part.location, name), "is empty"
    elif isinstance(file, str):
        try:
            part.data[name] = (folder / file).read_text(encoding="utf-8").strip()
        except OSError as err:
            yield (*part.location, file_name), f"cannot read {folder / file}: {err.strerror}"
        except UnicodeDecodeError:
            yield (*part.location, file_name), f"{folder / file} is not text"
        else:
            if not part.data[name]:
                yield (*part.location, file_name), f"{folder / file} is empty"
    elif file is None and value is None and name in part.kind.needs:
        yield part.location, f"{name} or {file_name} is missing"


def cross_checks(data: dict[str, Any]) -> Found:
    """Everything that involves two settings."""
    for check in (_open_listener, _static_targets, _unique_names, _certificate_and_key):
        yield from check(data)


def _open_listener(data: dict[str, Any]) -> Found:
    auth = _map(data.get("auth"))
    if any(auth.get(kind) for kind in ("tokens", "basic", "hmac", "certificates")):
        return
    for place in (("server", "listen"), ("ingest", "otlp_http"), ("ingest", "otlp_grpc")):
        section, name = place
        listen = _map(data.get(section)).get(name)
        if isinstance(listen, str) and _is_open(listen):
            remedy = "set credentials under auth, or listen on 127.0.0.1"
            yield place, f"{listen} can be reached from other machines; {remedy}"


def _is_open(listen: str) -> bool:
    try:
        host, _ = split_address(listen)
    except ValueError:
        return False  # the field says what is wrong
    return not is_loopback(host)


def _static_targets(data: dict[str, Any]) -> Found:
    for at, target in _maps(data.get("targets")):
        static = target.get("source") == "static"
        if static and not target.get("addresses"):
            yield ("targets", at), "source static needs addresses"
        if not static and target.get("addresses"):
            yield ("targets", at, "addresses"), "addresses are used with source: static only"
        if not static and not target.get("match"):
            yield ("targets", at), "match is missing; without it every discovered target would be profiled"


def _unique_names(data: dict[str, Any]) -> Found:
    lists = (("sinks", "name"), ("targets", "name"), ("prometheus", "name"))
    nested = (("auth", "tokens", "name"), ("auth", "basic", "user"), ("auth", "hmac", "name"))
    for name, key in lists:
        yield from _repeats(data.get(name), (name,), key)
    for outer, name, key in nested:
        yield from _repeats(_map(data.get(outer)).get(name), (outer, name), key)


def _repeats(items: Any, location: Location, key: str) -> Found:
    seen: Counter[str] = Counter()
    for at, item in _maps(items):
        name = item.get(key)
        if isinstance(name, str):
            seen[name] += 1
            if seen[name] == 2:
                yield (*location, at, key), f"{name!r} is used twice"


def _certificate_and_key(data: dict[str, Any]) -> Found:
    for part in parts(Settings, data):
        if {"cert_file", "key_file"} <= set(part.kind.model_fields):
            given = [name for name in ("cert_file", "key_file") if part.data.get(name)]
            if len(given) == 1:
                yield part.location, "cert_file and key_file belong together"
            if part.data.get("client_ca_file") and not given:
                yield part.location, "client_ca_file needs cert_file and key_file"
    tls = _map(_map(data.get("server")).get("tls"))
    if _map(data.get("auth")).get("certificates") and not tls.get("client_ca_file"):
        yield ("auth", "certificates"), "server.tls.client_ca_file is missing; without it nobody's certificate counts"


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _maps(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    for at, item in enumerate(value if isinstance(value, list) else []):
        if isinstance(item, dict):
            yield at, item
