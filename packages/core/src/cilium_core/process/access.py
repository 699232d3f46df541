# SPDX-License-Identifier: Apache-2.0
"""Where the API servers are and how to prove who we are.

In a cluster: the servers' own addresses from the environment (never the Service address, which
works only once an agent has programmed it) and the mounted service account. Elsewhere: a
kubeconfig. The token file is read again when it is older than a minute, since the kubelet
rotates it. Plain values; the file is small and local, so reading it may happen on the loop.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from cilium_core.errors import ConfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_REFRESH_SECONDS = 60.0
# Every API server's certificate carries this name; only a single one is sure to be asked by
# the very address that its certificate has.
SHARED_NAME = "kubernetes.default.svc"


class Token:
    """A bearer token, from a file that may change or from text."""

    def __init__(self, path: Path | None = None, text: str = "") -> None:
        """Give either a path or the token's text."""
        self._path = path
        self._text = text
        self._read_at = float("-inf")

    def current(self) -> str:
        """Return the token; a file is read again after a minute. Empty when there is none."""
        if self._path is not None and time.monotonic() - self._read_at > TOKEN_REFRESH_SECONDS:
            self._text = self._path.read_text().strip()
            self._read_at = time.monotonic()
        return self._text

    def forget(self) -> None:
        """Read the file again at the next use (the server refused the token)."""
        self._read_at = float("-inf")


class Access(msgspec.Struct, frozen=True):
    """Servers as (host, port), in order of preference, with the TLS context and the token.

    `name` is the name that the servers' certificates are checked against.
    """

    servers: tuple[tuple[str, int], ...]
    name: str
    tls: ssl.SSLContext
    token: Token


def in_cluster(
    environment: Mapping[str, str], account: Path = SERVICE_ACCOUNT, servers: str = ""
) -> Access:
    """Return the access of a pod. `servers` is the failover list `host:port,host:port`."""
    listed = [_host_port("CILIUM_K8S_API_SERVERS", word) for word in servers.split(",") if word]
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    if host:
        port = environment.get("KUBERNETES_SERVICE_PORT", "443")
        first = _host_port("KUBERNETES_SERVICE_HOST", f"{_bracketed(host)}:{port}")
        listed = [first, *(server for server in listed if server != first)]
    if not listed:
        raise ConfigError(
            "KUBERNETES_SERVICE_HOST", "is not set; give the API server's address or a kubeconfig"
        )
    if not (account / "token").is_file():
        raise ConfigError("service account", f"there is no token in {account}")
    tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
    name = listed[0][0] if len(listed) == 1 else SHARED_NAME
    return Access(tuple(listed), name, tls, Token(path=account / "token"))


def from_kubeconfig(path: Path) -> Access:
    """Return the access of the current context of a kubeconfig."""
    config = yaml.safe_load(path.read_text())
    try:
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        url = urlsplit(cluster["server"])
    except (KeyError, TypeError, StopIteration) as error:
        raise ConfigError("k8s-kubeconfig-path", f"{path}: no usable context: {error}") from error
    if url.scheme != "https" or not url.hostname:
        raise ConfigError("k8s-kubeconfig-path", f"{path}: server must be an https URL")
    tls = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"),
        cadata=_inline(cluster, "certificate-authority-data"),
    )
    _client_certificate(tls, user)
    token_file = user.get("tokenFile")
    token = Token(path=Path(token_file)) if token_file else Token(text=user.get("token", ""))
    return Access(((url.hostname, url.port or 443),), url.hostname, tls, token)


def _named(config: Mapping[str, Any], section: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(entry for entry in config[section] if entry["name"] == name)
    return found


def _inline(section: Mapping[str, Any], key: str) -> str | None:
    value = section.get(key)
    return base64.b64decode(value).decode() if value else None


def _client_certificate(tls: ssl.SSLContext, user: Mapping[str, Any]) -> None:
    certificate, key = user.get("client-certificate"), user.get("client-key")
    if certificate and key:
        tls.load_cert_chain(certificate, key)
        return
    data = _inline(user, "client-certificate-data")
    key_data = _inline(user, "client-key-data")
    if data and key_data:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(data + "\n" + key_data)
            file.flush()
            tls.load_cert_chain(file.name)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _host_port(field: str, text: str) -> tuple[str, int]:
    url = urlsplit(text if "//" in text else f"//{text.strip()}")
    try:
        if url.hostname:
            return url.hostname, url.port or 443
    except ValueError:
        pass
    raise ConfigError(field, f"{text!r} is not host:port")
