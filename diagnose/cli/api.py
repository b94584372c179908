"""The HTTP API as the command line uses it: no proxies, no redirects, every failure an error of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import requests

from diagnose.errors import DecodeError, DiagnoseError, NotFound, QueryError, ServerUnreachable, StoreBusy

CONNECT_S = 3.0
ANSWER_S = 60.0  # between two pieces of an answer; a capture or an export takes its time
PIECE_BYTES = 262_144
QUERY_CODES = ("sql_error", "refused", "timeout", "memory_limit", "busy")


class Refused(DiagnoseError):
    """The server wants other credentials, or says no."""

    code = "refused"


class Api:
    """One server. Raises ServerUnreachable, Refused, NotFound, QueryError, StoreBusy, DecodeError or DiagnoseError."""

    def __init__(self, url: str, token: str | None = None, *, verify: bool | str = True) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = verify
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def answers(self) -> bool:
        """Whether a server is there, whatever it says."""
        try:
            self._send("GET", "/healthz")
        except ServerUnreachable:
            return False
        except DiagnoseError:
            return True
        return True

    def get_json(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return self._json(self._send("GET", path, params=params))

    def get_bytes(self, path: str, params: Mapping[str, Any] | None = None) -> bytes:
        return self._send("GET", path, params=params).content

    def post_json(self, path: str, value: Any) -> Any:
        return self._json(self._send("POST", path, json=value))

    def post_for_bytes(self, path: str, value: Any) -> bytes:
        return self._send("POST", path, json=value).content

    def post_bytes(self, path: str, body: bytes, content_type: str, params: Mapping[str, Any] | None = None) -> Any:
        headers = {"Content-Type": content_type}
        return self._json(self._send("POST", path, params=params, data=body, headers=headers))

    def download(self, path: str, file: Path) -> None:
        """Into *file*, which only exists when everything came."""
        part = file.with_name(f"{file.name}.part")
        with self._send("GET", path, stream=True) as answer, part.open("wb") as opened:
            for piece in self._pieces(answer):
                opened.write(piece)
        part.replace(file)

    def _pieces(self, answer: requests.Response) -> Any:
        try:
            yield from answer.iter_content(PIECE_BYTES)
        except requests.RequestException as err:
            raise ServerUnreachable(f"{self.url} stopped in the middle of its answer") from err

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            answer = self._session.request(
                method, self.url + path, timeout=(CONNECT_S, ANSWER_S), allow_redirects=False, **options
            )
        except requests.exceptions.SSLError as err:
            raise ServerUnreachable(f"{self.url}: TLS failed: {err}") from err
        except requests.ReadTimeout as err:
            raise ServerUnreachable(f"{self.url} does not answer within {ANSWER_S:.0f} s") from err
        except requests.ConnectionError as err:
            raise ServerUnreachable(f"no server answers at {self.url}") from err
        except requests.RequestException as err:
            raise ServerUnreachable(f"{self.url}: {err}") from err
        if answer.status_code >= 300:
            _raise_for(answer)
        return answer

    def _json(self, answer: requests.Response) -> Any:
        try:
            return answer.json()
        except ValueError as err:
            raise DiagnoseError(f"{self.url} did not answer with JSON; is it a diagnose server?") from err


def _raise_for(answer: requests.Response) -> NoReturn:
    code, message, field = _error_in(answer)
    status = answer.status_code
    if code in QUERY_CODES and answer.request.path_url.startswith("/api/v1/sql"):
        raise QueryError(message, code=code)
    if status in (401, 403):
        raise Refused(message)
    if status == 404:
        raise NotFound(message)
    if status == 503:
        raise StoreBusy(message)
    if 400 <= status < 500:
        raise DecodeError(message, field=field)
    raise DiagnoseError(f"HTTP {status}: {message}")


def _error_in(answer: requests.Response) -> tuple[str, str, str | None]:
    """Code, message and field; of another program's answer, what can be said about it."""
    try:
        error = answer.json()["error"]
        return str(error["code"]), str(error["message"]), error.get("field")
    except (ValueError, KeyError, TypeError):
        return "", answer.reason or "no reason given", None
