"""
One question to a server named in the configuration, with a deadline and a cap on the answer.

Every failure is an UpstreamError whose text names the server and the cause, without credentials and without the URL.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import requests

from diagnose.config import Client
from diagnose.credentials import open_session, request_headers
from diagnose.errors import UpstreamError

MAX_ANSWER_BYTES = 64 * 1024 * 1024
LONG_QUERY = 1500  # characters; beyond, the query goes into the body of a POST


class NoAnswer(UpstreamError):
    """No connection, or no answer in time; asking the same server something else would only cost more time."""


class _TooLate(Exception):
    """The deadline passed while the answer was still coming."""


@dataclass(frozen=True)
class Answered:
    status: int
    body: bytes


class Upstream:
    """
    A server called *name* in errors. `ask` may be called from several threads.

    No redirects, no proxies of the environment; secrets are read from their files at each use.
    """

    def __init__(self, client: Client, url: str, name: str) -> None:
        self.name = name
        self._client = client
        self._url = url.rstrip("/")
        self._session = open_session(client)

    def ask(self, path: str, parameters: Mapping[str, str], *, timeout_s: float) -> Answered:
        """Whatever it answers within *timeout_s*, refusals too. Raises NoAnswer, and UpstreamError above the cap."""
        deadline = time.monotonic() + timeout_s
        long = len(parameters.get("query", "")) > LONG_QUERY
        try:
            with self._session.request(
                "POST" if long else "GET",
                self._url + path,
                params=None if long else dict(parameters),
                data=dict(parameters) if long else None,
                headers=request_headers(self._client),
                timeout=timeout_s,
                allow_redirects=False,
                stream=True,
            ) as response:
                return Answered(response.status_code, self._read(response, deadline))
        except (requests.Timeout, _TooLate) as err:
            raise NoAnswer(f"{self.name} did not answer within {timeout_s:g} s") from err
        except (requests.RequestException, OSError) as err:
            raise NoAnswer(f"{self.name} is unreachable: {_cause(err)}") from err

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        body = bytearray()
        for part in response.iter_content(65536):
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                raise UpstreamError(f"{self.name} answered more than {MAX_ANSWER_BYTES} bytes")
            if time.monotonic() > deadline:
                raise _TooLate
        return bytes(body)


def _cause(err: BaseException) -> str:
    """The innermost reason (`Connection refused`), without the URL that requests puts around it."""
    reason = type(err).__name__
    seen: BaseException | None = err
    while seen is not None:
        if isinstance(seen, OSError) and (seen.strerror or isinstance(seen, TimeoutError)):
            reason = seen.strerror or "timed out"
        seen = seen.__cause__ or seen.__context__
    return reason
