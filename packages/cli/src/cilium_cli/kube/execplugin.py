# SPDX-License-Identifier: Apache-2.0
"""Runs a kubeconfig's credential plugin (client.authentication.k8s.io). Blocking."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cilium_cli.errors import KubeconfigError

PLUGIN_SECONDS = 60


@dataclass(frozen=True, slots=True)
class PluginAnswer:
    """What a plugin gave: a token, or a client certificate and key in PEM."""

    token: str
    certificate: bytes
    key: bytes


def run_plugin(
    spec: Mapping[str, Any], cluster: Mapping[str, Any], environment: Mapping[str, str]
) -> PluginAnswer:
    """Run `users[].user.exec` and return its credentials. KubeconfigError with what it said."""
    command = spec.get("command", "")
    version = spec.get("apiVersion", "client.authentication.k8s.io/v1")
    info: dict[str, Any] = {
        "apiVersion": version,
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }
    if spec.get("provideClusterInfo"):
        info["spec"]["cluster"] = _cluster_info(cluster)
    extra = {entry["name"]: entry["value"] for entry in spec.get("env") or ()}
    env = {**environment, **extra, "KUBERNETES_EXEC_INFO": json.dumps(info)}
    try:
        done = subprocess.run(
            [command, *(spec.get("args") or ())],
            env=env,
            capture_output=True,
            timeout=PLUGIN_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        hint = spec.get("installHint") or "is it installed and on PATH?"
        raise KubeconfigError(f"user exec command {command!r} was not found; {hint}") from error
    except subprocess.TimeoutExpired as error:
        raise KubeconfigError(
            f"user exec command {command!r} gave nothing in {PLUGIN_SECONDS} s"
        ) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise KubeconfigError(f"user exec command {command!r} ended with {done.returncode}: {said}")
    try:
        status = json.loads(done.stdout)["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise KubeconfigError(
            f"user exec command {command!r} did not print an ExecCredential with a status"
        ) from error
    return PluginAnswer(
        token=status.get("token", ""),
        certificate=status.get("clientCertificateData", "").encode(),
        key=status.get("clientKeyData", "").encode(),
    )


def _cluster_info(cluster: Mapping[str, Any]) -> dict[str, Any]:
    info: dict[str, Any] = {"server": cluster.get("server", "")}
    if cluster.get("certificate-authority-data"):
        info["certificate-authority-data"] = cluster["certificate-authority-data"]
    elif cluster.get("certificate-authority"):
        content = (cluster["folder"] / cluster["certificate-authority"]).read_bytes()
        info["certificate-authority-data"] = base64.b64encode(content).decode()
    if cluster.get("insecure-skip-tls-verify"):
        info["insecure-skip-tls-verify"] = True
    return info
