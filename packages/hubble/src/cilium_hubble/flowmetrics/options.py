# SPDX-License-Identifier: Apache-2.0
"""`hubble-metrics`: names of metrics with their options, `dns:query;ignoreAAAA drop`. Pure.

A name, an option or a value that this version does not know is an error that says which.
"""

from __future__ import annotations

from typing import NamedTuple

from cilium_core.errors import ConfigError

KEY = "hubble-metrics"
IDENTIFIERS = (
    *("identity", "namespace", "pod", "pod-name", "dns", "ip"),
    *("reserved-identity", "workload", "workload-name", "app"),
)
_OF_AN_END = ("ip", "pod", "namespace", "workload", "workload_kind", "app")
LABELS = (  # in the order in which they are told
    *(f"source_{name}" for name in _OF_AN_END),
    *(f"destination_{name}" for name in _OF_AN_END),
    "traffic_direction",
)
_CONTEXTS = {
    name.lower(): name
    for name in (
        *("sourceContext", "sourceEgressContext", "sourceIngressContext"),
        *("destinationContext", "destinationEgressContext", "destinationIngressContext"),
    )
}
_OWN = {  # metric to its own options
    "dns": ("query", "ignoreAAAA"),
    "drop": (),
    "flow": (),
    "flows-to-world": ("any-drop", "port", "syn-only"),
    "http": (),
    "httpV2": (),
    "icmp": (),
    "policy": (),
    "port-distribution": (),
    "tcp": (),
}
_MISSING = {
    "sctp": "chunk types of SCTP are not recorded",
    "kafka": "upstream's has no successor; requests are in `flow`",
    "exemplars": "metrics are told in Prometheus' text format, which has none",
}


class Asked(NamedTuple):
    """One metric. `flags` are its own options; contexts are identifiers in order of preference."""

    name: str
    flags: frozenset[str] = frozenset()
    contexts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    labels: tuple[str, ...] = ()

    def context(self, name: str) -> tuple[str, ...]:
        """Return the identifiers of a context option, none when it is not given."""
        return dict(self.contexts).get(name, ())


def parse(text: str) -> tuple[Asked, ...]:
    """Return what is asked for. ConfigError names what is wrong."""
    asked = tuple(_metric(word) for word in text.split())
    names = [one.name for one in asked]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(KEY, f"{name!r} is there twice")
    if "http" in names and "httpV2" in names:
        raise ConfigError(KEY, "'http' and 'httpV2' have the same metrics; keep one of them")
    return asked


def _metric(word: str) -> Asked:
    name, _, rest = word.partition(":")
    if name not in _OWN:
        raise ConfigError(KEY, f"{name!r} is not a metric; {_missing(name, sorted(_OWN))}")
    flags: set[str] = set()
    contexts: dict[str, tuple[str, ...]] = {}
    labels: tuple[str, ...] = ()
    for option in filter(None, rest.split(";")):
        key, _, value = option.partition("=")
        own = {flag.lower(): flag for flag in _OWN[name]}
        if key.lower() in own:
            flags.add(own[key.lower()])
        elif key.lower() in _CONTEXTS:
            words = tuple(value.lower().split("|"))
            _known(name, key, words, IDENTIFIERS)
            contexts[_CONTEXTS[key.lower()]] = words
        elif key.lower() == "labelscontext":
            given = tuple(value.split(","))
            _known(name, key, given, LABELS)
            labels = tuple(label for label in LABELS if label in given)
        else:
            options = [*_OWN[name], *_CONTEXTS.values(), "labelsContext"]
            raise ConfigError(KEY, f"{name}: {key!r} is not an option; {_missing(key, options)}")
    return Asked(name, frozenset(flags), tuple(contexts.items()), labels)


def _known(metric: str, option: str, words: tuple[str, ...], known: tuple[str, ...]) -> None:
    for word in words:
        if word not in known:
            raise ConfigError(KEY, f"{metric}: {option}: {word!r} is none of {', '.join(known)}")


def _missing(name: str, known: list[str]) -> str:
    return _MISSING.get(name) or f"there are {', '.join(known)}"
