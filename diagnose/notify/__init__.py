"""Reports on their way out: a persisted outbox and the sinks it delivers to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagnose import config
from diagnose.notify.file import FileSink
from diagnose.notify.message import Message
from diagnose.notify.sink import Sink
from diagnose.notify.webhook import WebhookSink

__all__ = ["SINKS", "Message", "Sink", "make_sink"]

SINKS: dict[str, Callable[[Any], Sink]] = {  # setting `type` → what is made of its settings
    "file": FileSink,
    "webhook": WebhookSink,
}


def make_sink(settings: config.Sink) -> Sink:
    """The sink of one entry of the setting `sinks`."""
    return SINKS[settings.type](settings)
