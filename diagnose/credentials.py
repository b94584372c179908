"""
How the HTTP servers named in the configuration are asked: who we are (headers) and whom we trust (TLS).

Files with secrets are read at each use, so that a rotated token works without a restart. Credentials belong to one
server: nothing here is shared between two of them, and no environment variable (proxy, netrc) is ever consulted.
"""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

import requests

from diagnose.config import Client


def request_headers(client: Client) -> dict[str, str]:
    """The headers that go with every request. Raises OSError when a file with a secret cannot be read."""
    headers = dict(client.http_headers)
    if client.basic_auth:
        password = _secret(client.basic_auth.password, client.basic_auth.password_file)
        pair = f"{client.basic_auth.username}:{password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    if client.authorization:
        credentials = _secret(client.authorization.credentials, client.authorization.credentials_file)
        headers["Authorization"] = f"{client.authorization.type} {credentials}"
    return headers


def tls_context(client: Client) -> ssl.SSLContext:
    """For connections that are not made by requests. Raises OSError when a file is missing or no PEM."""
    tls = client.tls_config
    context = ssl.create_default_context(cafile=tls.ca_file if tls else None)
    if tls and tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls and tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def open_session(client: Client) -> requests.Session:
    """A session with the TLS settings of *client* and nothing of the environment; `request_headers` go on top."""
    session = requests.Session()
    session.trust_env = False
    tls = client.tls_config
    if tls and tls.insecure_skip_verify:
        session.verify = False
    elif tls and tls.ca_file:
        session.verify = str(tls.ca_file)
    if tls and tls.cert_file:
        session.cert = (str(tls.cert_file), str(tls.key_file)) if tls.key_file else str(tls.cert_file)
    return session


def _secret(value: str | None, file: Path | None) -> str:
    if value is None and file is not None:
        return file.read_text(encoding="utf-8").strip()
    return value or ""
