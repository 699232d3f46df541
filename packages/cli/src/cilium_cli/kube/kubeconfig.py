# SPDX-License-Identifier: Apache-2.0
"""Finds out how to reach and convince an API server, from kubeconfig files or a service account.

Blocking (files, credential plugins): called once, before the event loop starts.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cilium_cli.errors import KubeconfigError
from cilium_cli.kube.execplugin import run_plugin

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are: a bearer token, a client certificate with its key (PEM), or a password."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    username: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is and how to authenticate. `ca` is PEM; empty is the system's."""

    server: str
    credentials: Credentials = field(default_factory=Credentials)
    ca: bytes = b""
    insecure: bool = False
    tls_server_name: str = ""
    proxy: str = ""
    impersonate: str = ""
    impersonate_groups: tuple[str, ...] = ()


def load(
    path: str | None, context: str | None, environment: Mapping[str, str] | None = None
) -> Access:
    """Return the access that kubectl would use. KubeconfigError names what is missing.

    `path` is one file; without it, the files of $KUBECONFIG, then ~/.kube/config, then the pod's
    service account.
    """
    environment = os.environ if environment is None else environment
    files = _files(path, environment)
    config = _merge(files)
    if not config["contexts"] and not path and environment.get("KUBERNETES_SERVICE_HOST"):
        return _in_cluster(environment)
    name = context or config["current-context"]
    if not name:
        where = ", ".join(map(str, files)) or "no kubeconfig file was found"
        raise KubeconfigError(f"no current-context ({where}); give --context or --kubeconfig")
    chosen = _named(config, "contexts", "context", name)
    cluster = _named(config, "clusters", "cluster", chosen.get("cluster", ""))
    user = _named(config, "users", "user", chosen["user"]) if chosen.get("user") else {}
    server = cluster.get("server", "")
    if not server:
        raise KubeconfigError(f"cluster {chosen.get('cluster')!r} has no server")
    return Access(
        server=server.rstrip("/"),
        credentials=_credentials(user, cluster, environment),
        ca=_data(cluster, "certificate-authority"),
        insecure=bool(cluster.get("insecure-skip-tls-verify", False)),
        tls_server_name=cluster.get("tls-server-name", ""),
        proxy=cluster.get("proxy-url", ""),
        impersonate=user.get("as", ""),
        impersonate_groups=tuple(user.get("as-groups", ())),
    )


def _files(path: str | None, environment: Mapping[str, str]) -> list[Path]:
    if path:
        if not Path(path).is_file():
            raise KubeconfigError(f"{path}: no such kubeconfig file")
        return [Path(path)]
    listed = environment.get("KUBECONFIG", "")
    names = [Path(name) for name in listed.split(os.pathsep) if name]
    if not names:
        names = [Path(environment.get("HOME", "/")) / ".kube" / "config"]
    return [name for name in names if name.is_file()]


def _merge(files: list[Path]) -> dict[str, Any]:
    """Merge as kubectl does: the first file that has a name or the current context wins."""
    merged: dict[str, Any] = {"current-context": "", "contexts": {}, "clusters": {}, "users": {}}
    for file in files:
        try:
            content = yaml.safe_load(file.read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise KubeconfigError(f"{file}: {error}") from error
        if not isinstance(content, dict):
            raise KubeconfigError(f"{file}: is not a kubeconfig")
        merged["current-context"] = merged["current-context"] or content.get("current-context", "")
        for section in ("contexts", "clusters", "users"):
            for entry in content.get(section) or ():
                entry["folder"] = file.resolve().parent
                merged[section].setdefault(entry.get("name", ""), entry)
    return merged


def _named(config: dict[str, Any], section: str, key: str, name: str) -> dict[str, Any]:
    entry = config[section].get(name)
    if entry is None:
        raise KubeconfigError(f"{key} {name!r} is not in the kubeconfig")
    return {**(entry.get(key) or {}), "folder": entry["folder"]}


def _data(section: dict[str, Any], key: str) -> bytes:
    """Return `<key>-data` decoded, or the content of the file that `<key>` names."""
    encoded = section.get(f"{key}-data")
    if encoded:
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise KubeconfigError(f"{key}-data: is not base64") from error
    name = section.get(key)
    if not name:
        return b""
    file = section["folder"] / name
    try:
        return bytes(file.read_bytes())
    except OSError as error:
        raise KubeconfigError(f"{key}: {error}") from error


def _credentials(
    user: dict[str, Any], cluster: dict[str, Any], environment: Mapping[str, str]
) -> Credentials:
    token = user.get("token", "")
    if not token and user.get("tokenFile"):
        token = _data({"token": user["tokenFile"], "folder": user["folder"]}, "token").decode()
    certificate, key = _data(user, "client-certificate"), _data(user, "client-key")
    if user.get("exec"):
        answer = run_plugin(user["exec"], cluster, environment)
        token = answer.token or token
        certificate, key = answer.certificate or certificate, answer.key or key
    return Credentials(
        token=token.strip(),
        certificate=certificate,
        key=key,
        username=user.get("username", ""),
        password=user.get("password", ""),
    )


def _in_cluster(environment: Mapping[str, str]) -> Access:
    host = environment["KUBERNETES_SERVICE_HOST"]
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        token = (SERVICE_ACCOUNT / "token").read_text().strip()
        ca = (SERVICE_ACCOUNT / "ca.crt").read_bytes()
    except OSError as error:
        raise KubeconfigError(f"service account: {error}") from error
    host = f"[{host}]" if ":" in host else host
    return Access(server=f"https://{host}:{port}", credentials=Credentials(token=token), ca=ca)
