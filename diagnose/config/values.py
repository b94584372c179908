"""What the text of a setting must look like. Each function returns the value to use and raises ValueError otherwise."""

from __future__ import annotations

import ipaddress
import re
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, ValidationInfo

from diagnose.kinds import PROFILE_KINDS
from diagnose.matchers import parse_matcher

PPROF_PLACEHOLDERS = ("host", "port", "address")


def split_address(text: str) -> tuple[str, int]:
    """
    Host and port of `host:port`; an IPv6 host stands in brackets and is returned without them.

        [::1]:9095  →  ("::1", 9095)
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is no address; write host:port")
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    if ":" in host or "/" in host or "@" in host:
        raise ValueError(f"{text!r} is no address; write host:port, an IPv6 host in brackets")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches *host*; an empty host means all interfaces."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def suggestion(word: object, known: list[str]) -> str:
    """`; did you mean X?`, or nothing when no known word is close."""
    close = get_close_matches(str(word), known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def subject_parts(text: str) -> dict[str, str]:
    r"""
    The attributes of a certificate's subject, by their short names.

        CN=alertmanager,O=Example\, Inc.  →  {"CN": "alertmanager", "O": "Example, Inc."}
    """
    found: dict[str, str] = {}
    for part in re.split(r"(?<!\\),", text):
        name, equals, value = part.strip().partition("=")
        if not equals or not value or not re.fullmatch(r"[A-Z]{1,3}", name) or name in found:
            raise ValueError(f"{text!r} is no subject; write CN=name or CN=name,O=organization")
        found[name] = value.replace("\\,", ",")
    return found


def _subject(text: str) -> str:
    subject_parts(text)
    return text


def _address(text: str) -> str:
    split_address(text)
    return text


def _target_address(text: str) -> str:
    host, port = split_address(text)
    if not host or not port:
        raise ValueError(f"{text!r} is no address; write host:port")
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is no URL; it starts with http:// or https:// and a host")
    if parts.port == 0:
        raise ValueError(f"{text!r} has port 0")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong into a URL; use basic_auth or authorization")
    return text.rstrip("/")


def _pprof_url(text: str) -> str:
    try:
        names = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as err:
        raise ValueError(f"{text!r}: {err}") from err
    for name in names:
        if name not in PPROF_PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PPROF_PLACEHOLDERS)
            raise ValueError(f"unknown placeholder {{{name}}}; there are {known}")
    _url(text.format(host="host", port="1", address="host:1"))
    return text.rstrip("/")


def _matcher(text: str) -> str:
    parse_matcher(text)
    return text


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as err:
        raise ValueError(f"{text!r} is no CIDR block such as 10.0.0.0/8: {err}") from err


def _kind(text: str) -> str:
    if text not in PROFILE_KINDS:
        hint = suggestion(text, list(PROFILE_KINDS)) or f"; there are {', '.join(PROFILE_KINDS)}"
        raise ValueError(f"unknown profile kind {text!r}{hint}")
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as err:
        raise ValueError(f"{text!r} is no regular expression: {err}") from err
    return text


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path())
    return Path(folder) / path


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    return path


Address = Annotated[str, AfterValidator(_address)]
TargetAddress = Annotated[str, AfterValidator(_target_address)]
Subject = Annotated[str, AfterValidator(_subject)]
Url = Annotated[str, AfterValidator(_url)]
PprofUrl = Annotated[str, AfterValidator(_pprof_url)]
MatcherText = Annotated[str, AfterValidator(_matcher)]
Network = Annotated[str, AfterValidator(_network)]
Kind = Annotated[str, AfterValidator(_kind)]
Pattern = Annotated[str, AfterValidator(_pattern)]
FolderPath = Annotated[Path, AfterValidator(_from_folder)]
ExistingFile = Annotated[Path, AfterValidator(_from_folder), AfterValidator(_existing)]
