# SPDX-License-Identifier: Apache-2.0
"""`cilium policy validate`, as a process: what it prints and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cilium_cli.policy.files import parse
from cilium_cli.policy.validate import check

GOOD = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: quiet, namespace: shop}
spec: {podSelector: {}}
---
apiVersion: v1
kind: Pod
spec: {whatever: [1, 2]}
---
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {name: offices}
spec: {externalCIDRs: [192.0.2.0/24]}
"""
BAD = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {}
  ingress:
  - fromEntities: [everyone]
    toPorts: [{ports: [{port: "70000", protocol: TCP}]}]
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: all}
spec: {endpointSelector: {}}
---
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {name: offices}
spec: {externalCIDRs: [here]}
"""


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cilium_cli.main", "policy", "validate", *arguments],
        capture_output=True,
        text=True,
        check=False,
        input=stdin,
    )


def test_valid(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    done = run("-f", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 policy is valid\n", "")
    done = run("-f", str(tmp_path), "-f", "-", stdin=GOOD)
    assert (done.returncode, done.stdout) == (0, "2 policies are valid\n")


@pytest.mark.parametrize("text", ["", "---\n", "{apiVersion: v1, kind: Pod}\n"])
@pytest.mark.parametrize("more", [(), ("-o", "json")])
def test_nothing_to_validate_is_an_error(text: str, more: tuple[str, ...]) -> None:
    done = run("-f", "/dev/null", "-f", "-", *more, stdin=text)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error: no policies in /dev/null, -" in done.stderr


def test_one_line_for_each_problem(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(BAD)
    done = run("-f", str(good), str(bad))
    assert done.returncode == 1
    assert done.stderr == ""
    web = f"{bad}: CiliumNetworkPolicy shop/web: spec.ingress[0]"
    assert done.stdout.splitlines() == [
        f"{web}.fromEntities[0]: 'everyone' is unknown; use all, cluster, cluster-mesh, world, "
        "host, init, ingress, unmanaged, remote-node, health, kube-apiserver, world-ipv4, "
        "world-ipv6 or none",
        f"{web}.toPorts[0].ports[0].port: '70000' is no port; use 0 (every port) to 65535, or the "
        "name of a container port",
        f"{bad}: CiliumClusterwideNetworkPolicy all: spec: at least one element in ingress, "
        "ingressDeny, egress or egressDeny is needed",
        f"{bad}: CiliumCIDRGroup offices: spec.externalCIDRs[0]: 'here' is no CIDR; 10.0.0.0/8 or "
        "fd00::/8 would be one",
    ]


def test_json() -> None:
    done = run("-f", "-", "-o", "json", stdin=GOOD + "---" + BAD)
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["policies"] == 3
    assert [each["field"] for each in report["problems"]] == [
        "spec.ingress[0].fromEntities[0]",
        "spec.ingress[0].toPorts[0].ports[0].port",
        "spec",
        "spec.externalCIDRs[0]",
    ]
    assert report["problems"][2] == {
        "file": "-",
        "document": 5,
        "kind": "CiliumClusterwideNetworkPolicy",
        "namespace": "",
        "name": "all",
        "field": "spec",
        "reason": "at least one element in ingress, ingressDeny, egress or egressDeny is needed",
    }
    done = run("-f", "-", "-o", "json", stdin=GOOD)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"policies": 1, "problems": []})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "-f/--filename"),
        (("-f",), "-f/--filename"),
        (("-f", "/none"), "/none: No such file"),
        (("-f", "-", "-o", "xml"), "xml"),
    ],
)
def test_errors(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("\nError: ")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("api", "kind", "said"),
    [
        ("cilium.io/v1", "CiliumNetworkPolicy", "apiVersion: 'cilium.io/v1' is unknown"),
        ("cilium.io/v2", "CiliumNetworkpolicy", "kind: 'CiliumNetworkpolicy' is unknown"),
        ("networking.k8s.io/v1beta1", "NetworkPolicy", "apiVersion: 'networking.k8s.io/v1beta1'"),
        ("cilium.io/v2alpha1", "CiliumCIDRGroup", "apiVersion: 'cilium.io/v2alpha1' is unknown"),
        ("projectcalico.org/v3", "NetworkPolicy", ""),
        ("cilium.io/v2", "CiliumNode", ""),
    ],
)
def test_near_misses_are_problems_and_other_kinds_are_not(api: str, kind: str, said: str) -> None:
    (manifest,) = parse("f", f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: a\\nb}}\n")
    lines = [str(each) for each in check(manifest)]
    assert bool(lines) == bool(said)
    assert all("\n" not in line for line in lines)
    if said:
        assert said in lines[0]


def test_the_group_alone_shows_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cilium_cli.main", "policy", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "validate" in done.stdout
    assert "examples:\n  cilium policy validate" in done.stdout
