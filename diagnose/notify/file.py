"""A folder: each incident has one of its own in it, with the newest report as HTML, Markdown and JSON."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from diagnose import config
from diagnose.errors import SinkError
from diagnose.notify.message import Message

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class FileSink:
    """
    Writes `<path>/<incident>/report.{html,md,json}`.

    Each file is replaced as a whole, report.json last: whoever waits for its revision finds the other two in place. An
    older revision that comes late does not replace a newer one.
    """

    def __init__(self, settings: config.FileSink) -> None:
        self.name = settings.name
        self._path = settings.path

    def deliver(self, message: Message) -> str:
        """Returns the path of report.html. A full disk or a missing right is worth another try."""
        if not _FOLDER_NAME.fullmatch(message.incident_id):
            raise SinkError("the incident's id cannot be the name of a folder", retryable=False)
        folder = self._path / message.incident_id
        page = folder / "report.html"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if _revision_in(folder / "report.json") <= message.revision:
                _replace(page, message.html)
                _replace(folder / "report.md", message.markdown)
                _replace(folder / "report.json", message.json)
        except OSError as err:
            raise SinkError(f"{folder}: {err.strerror or err}", retryable=True) from err
        return str(page)


def _revision_in(file: Path) -> int:
    """Which revision lies there; 0 when there is none or it cannot be read."""
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["revision"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0


def _replace(file: Path, text: str) -> None:
    """After a crash the file is the old one or the new one, never half of it."""
    unfinished = file.with_name(f".{file.name}.part")
    with unfinished.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(file)
