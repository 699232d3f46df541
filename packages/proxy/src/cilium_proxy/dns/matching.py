# SPDX-License-Identifier: Apache-2.0
"""Whether a rule set lets a name be asked for. Pure.

Names and patterns mean what they mean to the policy language; the type that is asked for does not
matter, as upstream. Verdicts are remembered: pods ask for few names, often.
"""

from __future__ import annotations

import re

from cilium_core.policy.patterns import dns_name, name_pattern
from cilium_core.proto import proxy_pb2 as pb

REMEMBERED = 4096


class Names:
    """The rules of a set, compiled once. Replaced as a whole when the set changes."""

    def __init__(self, rule_set: pb.RuleSet) -> None:
        """Compile. FieldError for a pattern that cannot be."""
        self._everything = rule_set.everything
        self._names: set[str] = set()
        self._patterns: list[re.Pattern[str]] = []
        self._verdicts: dict[str, bool] = {}
        for rule in rule_set.rules:
            self._add(rule)

    def allow(self, name: str) -> bool:
        """Return whether a name, in any case, with or without its final dot, may be asked for."""
        if self._everything:
            return True
        verdict = self._verdicts.get(name)
        if verdict is None:
            if len(self._verdicts) >= REMEMBERED:
                self._verdicts.clear()
            verdict = self._verdicts[name] = self._judge(dns_name(name))
        return verdict

    def _judge(self, name: str) -> bool:
        return name in self._names or any(one.fullmatch(name) for one in self._patterns)

    def _add(self, rule: pb.Rule) -> None:
        kind = rule.WhichOneof("of")
        if kind == "dns" and rule.dns.match_name:
            self._names.add(dns_name(rule.dns.match_name))
        if kind == "dns" and rule.dns.match_pattern:
            self._patterns.append(name_pattern(dns_name(rule.dns.match_pattern)))
        if kind is None or (kind == "dns" and rule.dns == pb.DnsRule()):
            self._everything = True
