"""
`diagnose …`: one module per group of commands, loaded when it is used.

Reading commands ask a running server and open the data directory themselves when none runs. Answers go to standard
output, everything else to standard error. Exit codes: 0 ok, 1 negative result, 2 usage or configuration, 3 server
unreachable, 4 refused (credentials, limits).
"""

from __future__ import annotations

from diagnose.cli.main import main

__all__ = ["main"]
