# SPDX-License-Identifier: Apache-2.0
"""Every right that the chart grants has a user: the table names the code that asks for it.

A rule is granted per resource and verb. The words after the file must stand in it, so that a right
whose user goes away fails here, as does one that is granted and not in the table.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from .conftest import ROOT, Render

AGENT = "packages/agent/src/cilium_agent"
OPERATOR = "packages/operator/src/cilium_operator"
WATCHES = (f"{AGENT}/k8s/watches.py", "Reflector(client")
KOPF = (f"{OPERATOR}/watch.py", "@kopf.index(")
POLICY_EVENTS = (f"{OPERATOR}/watch.py", "@kopf.on.event(")
JUDGED = (f"{OPERATOR}/policies.py", "api.find(")
SCRIPT = "charts/cilium/files/cleanup-wait.py"
User = tuple[str, str]


def watched(*more: tuple[str, User], by: User = WATCHES) -> dict[str, User]:
    """List and watch by the informers, and what else is asked."""
    return {"list": by, "watch": by, **dict(more)}


USERS: dict[tuple[str, str], dict[str, dict[str, User]]] = {
    ("ClusterRole", "cilium"): {
        "services": watched(),
        "nodes": watched(),
        "namespaces": watched(("get", (f"{AGENT}/k8s/pods.py", "/api/v1/namespaces/"))),
        "pods": watched(("get", (f"{AGENT}/k8s/pods.py", "/pods/{name}"))),
        "endpointslices": watched(),
        "networkpolicies": watched(),
        "ciliumnetworkpolicies": watched(),
        "ciliumclusterwidenetworkpolicies": watched(),
        "ciliumcidrgroups": watched(),
        "ciliumidentities": watched(
            ("get", (f"{AGENT}/identity/allocator.py", ".find(")),
            ("create", (f"{AGENT}/identity/allocator.py", ".create(")),
            ("patch", (f"{AGENT}/identity/allocator.py", ".patch(")),
        ),
        "ciliumendpoints": watched(
            ("get", (f"{AGENT}/k8s/publisher.py", "_client.find(")),
            ("create", (f"{AGENT}/k8s/publisher.py", "_client.create(")),
            ("patch", (f"{AGENT}/k8s/publisher.py", "_client.patch(")),
            ("delete", (f"{AGENT}/k8s/publisher.py", "_client.delete(")),
        ),
        "ciliumnodes": watched(
            ("get", (f"{AGENT}/nodes/own.py", "_client.find(")),
            ("create", (f"{AGENT}/nodes/own.py", "_client.create(")),
            ("patch", (f"{AGENT}/nodes/own.py", "_client.patch(")),
        ),
    },
    ("ClusterRole", "cilium-operator"): {
        # kopf follows the definitions while it runs, whatever is watched.
        "customresourcedefinitions": watched(
            ("get", (f"{OPERATOR}/crds.py", "api.find(")),
            ("create", (f"{OPERATOR}/crds.py", "api.create(")),
            ("update", (f"{OPERATOR}/crds.py", "api.replace(")),
            by=KOPF,
        ),
        "pods": watched(by=KOPF),
        "nodes": watched(
            ("get", (f"{OPERATOR}/gc/runner.py", "client.exists(")),
            ("patch", (f"{OPERATOR}/controllers.py", "_patch_taints(")),
            by=KOPF,
        ),
        "nodes/status": {"patch": (f"{OPERATOR}/controllers.py", "/status")},
        "servicecidrs": watched(by=KOPF),
        "events": {"create": (f"{OPERATOR}/kube/stores.py", "/apis/events.k8s.io/v1/")},
        "ciliumnodes": watched(
            ("get", (f"{OPERATOR}/kube/stores.py", "_client.find(")),
            ("patch", (f"{OPERATOR}/kube/stores.py", "cidr_patch(")),
            ("delete", (f"{OPERATOR}/gc/runner.py", "/ciliumnodes/{name}")),
            by=KOPF,
        ),
        "ciliumnodes/status": {"patch": (f"{OPERATOR}/kube/stores.py", "error_patch(")},
        "ciliumidentities": {
            "list": (f"{OPERATOR}/gc/runner.py", "/ciliumidentities"),
            "patch": (f"{OPERATOR}/gc/runner.py", "_client.patch("),
            "delete": (f"{OPERATOR}/gc/runner.py", "_client.delete("),
        },
        "ciliumendpoints": {
            "list": (f"{OPERATOR}/gc/runner.py", "/ciliumendpoints"),
            "delete": (f"{OPERATOR}/gc/runner.py", "client.delete("),
        },
        "ciliumnetworkpolicies": watched(("get", JUDGED), by=POLICY_EVENTS),
        "ciliumclusterwidenetworkpolicies": watched(("get", JUDGED), by=POLICY_EVENTS),
        "ciliumnetworkpolicies/status": {"patch": (f"{OPERATOR}/policies.py", "/status")},
        "ciliumclusterwidenetworkpolicies/status": {
            "patch": (f"{OPERATOR}/policies.py", "/status")
        },
    },
    ("Role", "cilium-operator"): {
        "leases": {
            "create": (f"{OPERATOR}/kube/stores.py", "_client.create("),
            "get": (f"{OPERATOR}/kube/stores.py", "_client.get("),
            "update": (f"{OPERATOR}/kube/stores.py", "_client.replace("),
        },
        "secrets": {
            "create": (f"{OPERATOR}/certificates/keeper.py", "_client.create("),
            "get": (f"{OPERATOR}/certificates/keeper.py", "_client.find("),
            "patch": (f"{OPERATOR}/certificates/keeper.py", "_client.patch("),
        },
    },
    ("Role", "cilium-cleanup"): {
        "pods": {"list": (SCRIPT, "/pods?labelSelector")},
        "daemonsets": {"get": (SCRIPT, "/daemonsets/cilium-cleanup")},
    },
}


def granted(rules: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Return resource → verbs, over all rules."""
    found: dict[str, set[str]] = {}
    for rule in rules:
        for resource in rule["resources"]:
            found.setdefault(resource, set()).update(rule["verbs"])
    return found


def test_every_role_is_in_the_table(render: Render) -> None:
    roles = {
        (o["kind"], o["metadata"]["name"]) for o in render().objects if o["kind"].endswith("Role")
    }
    assert roles == set(USERS)


@pytest.mark.parametrize("role", USERS, ids=" ".join)
def test_what_is_granted_is_what_is_used(render: Render, role: tuple[str, str]) -> None:
    expected = {resource: set(verbs) for resource, verbs in USERS[role].items()}
    assert granted(render().get(*role)["rules"]) == expected


def test_the_users_are_there() -> None:
    texts: dict[str, str] = {}
    for resources in USERS.values():
        for resource, verbs in resources.items():
            for verb, (file, words) in verbs.items():
                text = texts.setdefault(file, (ROOT / file).read_text())
                assert words in text, f"{verb} {resource}: {words!r} is not in {file}"


@pytest.mark.parametrize(
    ("role", "file", "pattern"),
    [
        ("cilium", f"{AGENT}/k8s/watches.py", r'/([a-z]+)"'),
        ("cilium-operator", f"{OPERATOR}/watch.py", r'"v\d", "([a-z]+)"\)'),
    ],
)
def test_everything_watched_is_granted(render: Render, role: str, file: str, pattern: str) -> None:
    """The other way round: a watch without its right would be refused for ever."""
    rights = granted(render().get("ClusterRole", role)["rules"])
    watches = set(re.findall(pattern, (ROOT / file).read_text()))
    assert len(watches) >= 4
    followed = {resource for resource, verbs in rights.items() if {*verbs} >= {"list", "watch"}}
    assert watches <= followed


def test_leases_are_one_lease(render: Render) -> None:
    from_code = (ROOT / OPERATOR / "kube" / "lease.py").read_text()
    for rule in render().get("Role", "cilium-operator")["rules"]:
        if "leases" in rule["resources"] and "create" not in rule["verbs"]:
            (name,) = rule["resourceNames"]
            assert f'LEASE_NAME = "{name}"' in from_code
