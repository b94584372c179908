"""New settings for a service that runs: what changes at once, and what has to wait for a restart."""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.config.settings import Section, Settings

FIXED = (  # what is bound, opened or sized when the service starts
    "server.listen",
    "server.tls",
    "store.path",
    "ingest.otlp_http",
    "ingest.otlp_grpc",
    "ingest.queue_bytes",
    "sql.workers",
)


@dataclass(frozen=True)
class Reloaded:
    """`changed` are the sections that are other now, `needs_restart` the settings that stay as they were until then."""

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


def combine(old: Settings, new: Settings) -> tuple[Settings, Reloaded]:
    """*new* as far as it can take effect in a service that was started with *old*."""
    fixed = [path for path in FIXED if _at(old, path) != _at(new, path)]
    effective = new
    for path in fixed:
        effective = _with(effective, path, old)
    changed = [name for name in Settings.model_fields if getattr(old, name) != getattr(effective, name)]
    return effective, Reloaded(tuple(changed), tuple(fixed))


def _at(settings: Settings, path: str) -> object:
    section, _, name = path.partition(".")
    return getattr(getattr(settings, section), name, None)


def _with(settings: Settings, path: str, old: Settings) -> Settings:
    """*settings* with the value that *old* has at *path*."""
    section, _, name = path.partition(".")
    part: Section = getattr(settings, section)
    return settings.model_copy(update={section: part.model_copy(update={name: _at(old, path)})})
