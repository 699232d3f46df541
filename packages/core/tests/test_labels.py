# SPDX-License-Identifier: Apache-2.0
"""Which labels make an identity: the defaults, the user's words, and a slow model of both."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.errors import FieldError
from cilium_core.labels import DEFAULT_FILTER, LabelFilter, pod_labels

KEYS = st.sampled_from(
    [
        "k8s:app",
        "k8s:app.kubernetes.io/name",
        "k8s:pod-template-hash",
        "k8s:io.kubernetes.pod.namespace",
        "k8s:io.kubernetes.other",
        "k8s:io.cilium.k8s.policy.cluster",
        "k8s:team",
        "k8s:tier",
        "reserved:host",
        "container:app",
    ]
)
WORDS = st.lists(
    st.sampled_from(["k8s:app", "!k8s:team", "team", "!tier", "container:app", "!app", "app.*"]),
    max_size=4,
)


def model(words, labels):
    """Try every word on every key, keep the longest match's word; the user's words win ties."""
    kept = {}
    for full in labels:
        source, key = full.split(":", 1)
        candidates = []
        for rank, word in enumerate([*words, *DEFAULT_FILTER]):
            body = word.lstrip("!")
            wanted, pattern = body.split(":", 1) if ":" in body else ("", body)
            found = re.match(pattern, key)
            if found and wanted in ("", source):
                candidates.append((found.end(), -rank, not word.startswith("!")))
        default = not any(not word.startswith("!") for word in words)
        if max(candidates)[2] if candidates else default:
            kept[full] = labels[full]
    return kept


@given(WORDS, st.dictionaries(KEYS, st.just("v")))
def test_filter_equals_the_model(words, labels):
    assert LabelFilter(words).apply(labels) == model(words, labels)


def test_default_filter_keeps_application_labels_only():
    labels = pod_labels(
        {"app": "web", "pod-template-hash": "6657", "controller-revision-hash": "1"},
        "emojivoto",
        {"team": "a"},
        "web",
        "kubernetes",
    )
    assert set(LabelFilter().apply(labels)) == {
        "k8s:app",
        "k8s:io.kubernetes.pod.namespace",
        "k8s:io.cilium.k8s.namespace.labels.team",
        "k8s:io.cilium.k8s.policy.cluster",
        "k8s:io.cilium.k8s.policy.serviceaccount",
    }


def test_a_pod_cannot_forge_its_namespace():
    forged = {"io.kubernetes.pod.namespace": "kube-system"}
    labels = pod_labels(forged, "tenant", {}, "", "c")
    assert labels["k8s:io.kubernetes.pod.namespace"] == "tenant"


def test_an_include_makes_an_allow_list():
    kept = LabelFilter(["k8s:app"]).apply({"k8s:app": "a", "k8s:team": "b"})
    assert kept == {"k8s:app": "a"}


def test_bad_pattern_names_the_field():
    with pytest.raises(FieldError, match=r"labels\[1\]"):
        LabelFilter(["app", "k8s:["])


def test_named_ports_become_a_label() -> None:
    ports = [("http", 8080, "TCP"), ("dns", 53, "UDP"), ("dns", 53, "TCP")]
    made = pod_labels({}, "ns", {}, "", "c", ports)
    assert made["k8s:io.cilium.k8s.named-ports"] == "dns=53/TCP,dns=53/UDP,http=8080/TCP"
    assert "k8s:io.cilium.k8s.named-ports" in LabelFilter(()).apply(made)
    assert "k8s:io.cilium.k8s.named-ports" not in pod_labels({}, "ns", {}, "", "c")
