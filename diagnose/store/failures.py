"""What an error of the database means for whoever waits and for the database itself."""

from __future__ import annotations

import duckdb

from diagnose.errors import DiagnoseError, StoreBusy, StoreError


def is_invalid(err: Exception) -> bool:
    """The database refuses everything until it is opened again."""
    if isinstance(err, duckdb.FatalException | duckdb.InternalException):
        return True
    return isinstance(err, duckdb.Error) and "been invalidated" in str(err)


def is_cut_off(err: Exception) -> bool:
    """The connection was closed because the database is being opened again."""
    return isinstance(err, duckdb.ConnectionException | duckdb.InterruptException)


def named(err: Exception) -> Exception:
    """Our own errors and programming mistakes as they are; what the database says as a StoreError."""
    if isinstance(err, DiagnoseError) or not isinstance(err, duckdb.Error):
        return err
    error = StoreBusy(f"not durable: {err}") if _may_pass(err) else StoreError(str(err))
    error.__cause__ = err
    return error


def _may_pass(err: duckdb.Error) -> bool:
    """A full disk is told by COMMIT as a TransactionException "Failed to commit: Could not write file …"."""
    if isinstance(err, duckdb.IOException | duckdb.OutOfMemoryException) or is_invalid(err):
        return True
    return isinstance(err, duckdb.TransactionException) and "Failed to commit" in str(err)
