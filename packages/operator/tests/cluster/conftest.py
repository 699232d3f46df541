# SPDX-License-Identifier: Apache-2.0
"""One real API server for the tests of this folder, with the chart's own RBAC rules."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[4]


def _load_helper() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "control_plane.py"
    spec = importlib.util.spec_from_file_location("operator_control_plane", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


helper = _load_helper()


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running API server in which the operator may do what the chart lets it do."""
    binary, etcd = helper.hyperkube(), helper.etcd()
    if binary is None or etcd is None:
        reason = "no Kubernetes binary: run `python -m e2e.cluster programs`, or set HYPERKUBE"
        # Where all tests must run (tools/test.sh builds the binary first), none may be left out.
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    running = helper.ControlPlane(tmp_path_factory.mktemp("plane"), binary, etcd)
    try:
        running.start()
        for rule in _rbac():
            kind = rule["kind"].lower() + "s"
            prefix = "/apis/rbac.authorization.k8s.io/v1"
            if "namespace" in rule["metadata"]:
                prefix += f"/namespaces/{rule['metadata']['namespace']}"
            running.request("POST", f"{prefix}/{kind}", rule)
        yield running
    finally:
        running.stop()


def _rbac() -> list[dict[str, Any]]:
    chart = REPOSITORY / "charts" / "cilium"
    command = [
        str(Path(sys.executable).parent / "helm"),
        "template",
        "cilium",
        str(chart),
        "--namespace=kube-system",
        "--set=k8sServiceHost=127.0.0.1",
        "--set=k8sServicePort=6443",
    ]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wanted = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    documents = [one for one in yaml.safe_load_all(rendered) if one]
    return [
        one for one in documents if one["kind"] in wanted and "operator" in one["metadata"]["name"]
    ]


@pytest.fixture
def operator(plane: Any, tmp_path: Path) -> Iterator[Any]:
    """An operator with a configuration directory of its own; not started."""
    process = helper.OperatorProcess(plane, _configuration(tmp_path / "config"))
    yield process
    process.kill()
    log = process.log.read_text() if process.log.exists() else ""
    assert "forbidden" not in log.lower(), "the chart's rights do not suffice"


@pytest.fixture
def second_operator(plane: Any, tmp_path: Path) -> Iterator[Any]:
    """A second replica; not started."""
    process = helper.OperatorProcess(plane, _configuration(tmp_path / "second"))
    yield process
    process.kill()


def _configuration(config: Path) -> Path:
    config.mkdir()
    values = {
        "enable-ipv4": "true",
        "enable-ipv6": "true",
        "cluster-pool-ipv4-cidr": "10.0.0.0/8",
        "cluster-pool-ipv4-mask-size": "24",
        "cluster-pool-ipv6-cidr": "fd00::/104",
        "cluster-pool-ipv6-mask-size": "120",
        "set-cilium-node-taints": "true",
        "operator-api-serve-addr": f"127.0.0.1:{helper.free_port()}",
        "operator-prometheus-serve-addr": f"127.0.0.1:{helper.free_port()}",
        "leader-election-lease-duration": "3s",
        "leader-election-renew-deadline": "2s",
        "leader-election-retry-period": "500ms",
    }
    for key, value in values.items():
        (config / key).write_text(value)
    return config
