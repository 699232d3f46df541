# SPDX-License-Identifier: Apache-2.0
"""`cilium policy trace`, as a process: one probe as text and JSON, many as lines, mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cilium_cli.policy.trace import run_probes

MANIFESTS = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: n1}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {nodeName: n2}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: db}, ports: [{port: 80, targetPort: 5432}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: db}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts: [{ports: [{port: "5432", protocol: TCP}]}]
  - toPorts:
    - ports: [{port: "8080", protocol: TCP}]
      rules: {http: [{method: GET}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: broken, namespace: shop}
spec: {endpointSelector: {}, ingress: [{fromEntities: [everyone]}]}
"""
RULE = "CiliumNetworkPolicy shop/db spec"


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    path = tmp_path / "all.yaml"
    path.write_text(MANIFESTS)
    return path


def trace(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cilium_cli.main", "policy", "trace", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_one_probe_as_text(manifests: Path) -> None:
    done = trace("-f", manifests, "--from", "shop/web", "--to", "shop/db", "--port", "80")
    assert done.returncode == 0
    assert (
        done.stdout
        == f"""\
from     shop/web
to       shop/db, port 80
egress   allow: default allow: no policy selects
ingress  deny: default deny by {RULE}
         nearest: {RULE}.ingress[0] allows this peer, but on TCP 5432
verdict  deny
"""
    )
    assert done.stderr.startswith("Warning: not enforced: CiliumNetworkPolicy shop/broken: spec.")


def test_one_probe_as_json(manifests: Path) -> None:
    ends = ("--from", "ip:1.2.3.4", "--to", "ip:10.0.0.2", "--port", "8080")
    request = ("--request", '{"http": {"method": "PUT"}}')
    done = trace("-f", manifests, *ends, *request, "-o", "json")
    assert json.loads(done.stdout) == {
        "verdict": "http-403",
        "decided_by": f"ingress: {RULE}.ingress[1]",
        "ingress": {"verdict": "http-403", "decided_by": f"{RULE}.ingress[1]"},
    }


def test_a_service(manifests: Path) -> None:
    done = trace("-f", manifests, "--from", "shop/web", "--to", "svc:shop/db", "--port", "80")
    assert "to       shop/db, port 5432 (behind service shop/db)\n" in done.stdout
    assert done.stdout.endswith("verdict  allow\n")


def test_probes_are_answered_line_by_line(
    manifests: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probes = tmp_path / "probes.jsonl"
    lines = [
        {"from": "shop/web", "to": "shop/db", "port": 5432, "protocol": "TCP"},
        {"from": "shop/web", "to": "shop/none", "port": 1, "protocol": "TCP"},
        {"from": "shop/db", "to": "shop/web", "protocol": "ICMP", "icmp": {"type": 8}},
    ]
    probes.write_text("\n\n".join(map(json.dumps, lines)) + "\nnot json\n[]\n")
    assert run_probes([str(manifests)], str(probes), json=True) == 1
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["verdict"] for answer in answers] == [
        "allow",
        "error",
        "allow",
        "error",
        "error",
    ]
    assert answers[1]["error"] == "to: no pod shop/none is in the manifests"
    assert answers[4]["error"] == "probe: a JSON object is needed"
    assert run_probes([str(manifests)], str(probes)) == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert (
        first == f"allow       egress: default allow: no policy selects; ingress: {RULE}.ingress[0]"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "shop/db", "--port", "1"), "from: is needed: ns/pod, ip:…, node:…, entity:…"),
        (("--from", "shop/web", "--to", "shop/db"), "port: is needed: a number from 0 to 65535"),
        (("--request", "{"), "--request: not JSON: "),
        (("--probes", "/none"), "/none: No such file or directory"),
        (("--probes", "-", "--port", "1"), "--probes: not beside --from, --to and what belongs"),
    ],
)
def test_mistakes(manifests: Path, arguments: tuple[str, ...], message: str) -> None:
    done = trace("-f", manifests, *arguments)
    assert done.returncode == 1
    assert f"Error: {message}" in done.stderr
    assert not done.stdout
