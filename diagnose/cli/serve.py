"""`diagnose serve`."""

from __future__ import annotations

import click

from diagnose.cli.session import Session
from diagnose.config import load_settings
from diagnose.telemetry import get_logger, log_to_stderr

log = get_logger(__name__)


@click.command()
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]),
    default="INFO",
    show_default=True,
    help="Least important line to log.",
)
@click.pass_obj
def serve(session: Session, /, *, log_level: str) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    from diagnose.app import run  # noqa: PLC0415  --help must not wait for all of it

    settings = session.settings
    log_to_stderr(log_level)
    if not any((settings.auth.tokens, settings.auth.basic, settings.auth.hmac)):
        log.warning("no credentials are set: everybody on this machine may do everything")
    run(settings, load=lambda: load_settings(session.config_file, session.environ))
