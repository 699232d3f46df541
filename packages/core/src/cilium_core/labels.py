# SPDX-License-Identifier: Apache-2.0
"""Security labels: which of a pod's labels make its identity.

A label set is a plain `dict` from `source:key` to value. The default filter is upstream's:
the longest matching include or exclude prefix decides, and a key that nothing names is kept.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cilium_core.errors import FieldError

LabelSet = dict[str, str]
NamedPort = tuple[str, int, str]  # name, number, protocol as Kubernetes writes it

NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels"
CLUSTER = "io.cilium.k8s.policy.cluster"
SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
NAMED_PORTS = "io.cilium.k8s.named-ports"

DEFAULT_FILTER = (
    "reserved:.*",
    "k8s:io\\.kubernetes\\.pod\\.namespace",
    "k8s:io\\.cilium\\.k8s\\.namespace\\.labels",
    "k8s:app\\.kubernetes\\.io",
    "k8s:io\\.cilium\\.k8s\\.policy\\.cluster",
    "k8s:io\\.cilium\\.k8s\\.policy\\.serviceaccount",
    "k8s:io\\.cilium\\.k8s\\.named-ports",
    "!io\\.kubernetes",
    "!kubernetes\\.io",
    "!.*beta\\.kubernetes\\.io",
    "!k8s\\.io",
    "!pod-template-generation",
    "!pod-template-hash",
    "!controller-revision-hash",
    "!annotation.*",
    "!controller-uid",
    "!etcd_node",
    "!topology\\.kubernetes\\.io",
    "!statefulset\\.kubernetes\\.io/pod-name",
    "!apps\\.kubernetes\\.io/pod-index",
    "!batch\\.kubernetes\\.io/job-completion-index",
    "!batch\\.kubernetes\\.io/controller-uid",
)


class Rule(NamedTuple):
    """One word of a filter: a source (empty for any), a key pattern, keep or drop."""

    source: str
    pattern: re.Pattern[str]
    keep: bool


class LabelFilter:
    """Chooses the labels that count for identity.

    `words` are upstream's `labels` setting, split at blanks: `k8s:app`, `!foo`. With at least
    one include in the user's words, only included labels are kept.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        """Compile the user's words behind the defaults. FieldError for a bad pattern."""
        user = [_parse(word, f"labels[{n}]") for n, word in enumerate(words)]
        self._allow_list = any(rule.keep for rule in user)
        defaults = [_parse(word, "labels") for word in DEFAULT_FILTER]
        self._rules = [*user, *defaults]

    def apply(self, labels: Mapping[str, str]) -> LabelSet:
        """Return the labels that count, in key order."""
        return {key: labels[key] for key in sorted(labels) if self._keeps(key)}

    def _keeps(self, full_key: str) -> bool:
        source, _, key = full_key.partition(":")
        best, keep = -1, not self._allow_list
        for rule in self._rules:
            if rule.source and rule.source != source:
                continue
            match = rule.pattern.match(key)
            if match and match.end() > best:
                best, keep = match.end(), rule.keep
        return keep


def _parse(word: str, field: str) -> Rule:
    keep = not word.startswith("!")
    body = word.removeprefix("!")
    source, colon, pattern = body.partition(":")
    if not colon:
        source, pattern = "", body
    try:
        return Rule(source, re.compile(pattern), keep)
    except re.error as error:
        raise FieldError(field, f"{word!r} is not a regular expression: {error}") from error


def pod_labels(
    pod: Mapping[str, str],
    namespace: str,
    namespace_labels: Mapping[str, str],
    service_account: str,
    cluster: str,
    named_ports: Iterable[NamedPort] = (),
) -> LabelSet:
    """Return all security labels of a pod before filtering, keys as `k8s:<key>`.

    A pod that names container ports carries them in a label, so that policies of others which use
    a port's name need to know identities only.
    """
    labels = {f"k8s:{key}": value for key, value in pod.items()}
    for key, value in namespace_labels.items():
        labels[f"k8s:{NAMESPACE_LABELS}.{key}"] = value
    labels[f"k8s:{NAMESPACE}"] = namespace
    labels[f"k8s:{CLUSTER}"] = cluster
    labels[f"k8s:{SERVICE_ACCOUNT}"] = service_account or "default"
    ports = write_named_ports(named_ports)
    if ports:
        labels[f"k8s:{NAMED_PORTS}"] = ports
    return labels


def write_named_ports(ports: Iterable[NamedPort]) -> str:
    """Return the value of the named-ports label, `dns=53/UDP,http=8080/TCP`; sorted."""
    return ",".join(sorted({f"{name}={number}/{protocol}" for name, number, protocol in ports}))
