# SPDX-License-Identifier: Apache-2.0
"""Certificates and kubeconfig files, made by openssl once per cluster state.

Every key is P-256: made in milliseconds, accepted by every client.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster import spec
from e2e.cluster.shell import run

DAYS = "3650"


def authority(folder: Path) -> None:
    """Make `ca.crt`, `ca.key` and the service account key pair, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "ca.crt").exists():
        _key(folder / "ca.key")
        run(
            [
                *("openssl", "req", "-x509", "-new", "-key", folder / "ca.key", "-days", DAYS),
                *("-subj", "/CN=cilium-python-test", "-out", folder / "ca.crt"),
                *("-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"),
            ]
        )
    if not (folder / "sa.pub").exists():
        _key(folder / "sa.key")
        run(["openssl", "ec", "-in", folder / "sa.key", "-pubout", "-out", folder / "sa.pub"])


def issue(
    folder: Path, name: str, user: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()
) -> None:
    """Make `name`.crt and .key for `user` in `groups`, valid for `hosts` ("IP:…", "DNS:…")."""
    if (folder / f"{name}.crt").exists():
        return
    _key(folder / f"{name}.key")
    subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
    request = folder / f"{name}.csr"
    run(
        [
            *("openssl", "req", "-new", "-key", folder / f"{name}.key"),
            *("-subj", subject, "-out", request),
        ]
    )
    extensions = folder / f"{name}.ext"
    extensions.write_text(
        "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
        "extendedKeyUsage=clientAuth,serverAuth\n"
        + (f"subjectAltName={','.join(hosts)}\n" if hosts else "")
    )
    run(
        [
            *("openssl", "x509", "-req", "-in", request, "-days", DAYS, "-sha256"),
            *("-CA", folder / "ca.crt", "-CAkey", folder / "ca.key"),
            *("-set_serial", str(1000 + sum(map(ord, name)) * 7919 % 10**9)),
            *("-extfile", extensions, "-out", folder / f"{name}.crt"),
        ]
    )
    request.unlink()
    extensions.unlink()


def kubeconfig(folder: Path, name: str, server: str) -> str:
    """A kubeconfig (JSON, which is YAML) for the certificate `name`, everything inline."""

    def inline(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "cilium-python",
            "clusters": [
                {
                    "name": "cilium-python",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": inline(folder / "ca.crt"),
                    },
                }
            ],
            "users": [
                {
                    "name": name,
                    "user": {
                        "client-certificate-data": inline(folder / f"{name}.crt"),
                        "client-key-data": inline(folder / f"{name}.key"),
                    },
                }
            ],
            "contexts": [
                {
                    "name": "cilium-python",
                    "context": {"cluster": "cilium-python", "user": name},
                }
            ],
        },
        indent=1,
    )


def all_certificates(folder: Path, nodes: Sequence[spec.Host]) -> None:
    """Everything that a cluster of `nodes` needs."""
    authority(folder)
    control = spec.CONTROL_PLANE
    issue(
        folder,
        "apiserver",
        "kube-apiserver",
        hosts=(
            *("DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc"),
            *(f"DNS:kubernetes.default.svc.{spec.CLUSTER_DOMAIN}", "DNS:localhost"),
            *(f"IP:{control.ipv4}", f"IP:{control.ipv6}", f"IP:{spec.SERVICE_API}"),
            *("IP:127.0.0.1", "IP:::1"),
        ),
    )
    issue(folder, "apiserver-kubelet", "apiserver-kubelet", ["system:masters"])
    issue(folder, "admin", "admin", ["system:masters"])
    issue(folder, "controller-manager", "system:kube-controller-manager")
    issue(folder, "scheduler", "system:kube-scheduler")
    for node in nodes:
        issue(
            folder,
            node.name,
            f"system:node:{node.name}",
            ["system:nodes"],
            (f"DNS:{node.name}", f"IP:{node.ipv4}", f"IP:{node.ipv6}"),
        )


def _key(path: Path) -> None:
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path])
    path.chmod(0o600)
