# SPDX-License-Identifier: Apache-2.0
"""A slow and obvious judge: every policy, rule, peer and port, packet by packet.

It shares nothing with the engine but the form in which policies are written down. A peer that is
not known (`peer` None) may be anybody: what is said of everyone is not for it where a rule for some
peers could take it away.
"""

from cilium_core.policy.rules import Direction


def verdict(policies, subject, direction, protocol, port, peer, everybody=()):
    """Judge one packet. `subject` is (labels, own ports, is a node), `peer` labels or None.

    `everybody` are the labels of all who are known, for what those who are not might be.
    """
    labels, own_ports, is_node = subject
    mine = [p for p in policies if p.on_nodes == is_node and selects(p.subject, labels)]
    found, possible = set(), set()
    for policy in mine:
        for rule in policy.rules:
            if rule.direction != direction:
                continue
            kind = "deny" if rule.deny else "l7" if rule.l7 else "allow"
            on = {
                id(p): ports_match(rule, protocol, port, own_ports, p) for p in (peer, *everybody)
            }
            if on[id(peer)] and (rule.peers is None or in_any(rule.peers.selectors, peer)):
                found.add(kind)
            if any(on.values()) and (rule.peers is None or rule.peers.selectors):
                possible.add(kind)
    if "deny" in found:
        return "deny-by-rule"
    for answer, against in (("l7", {"deny"}), ("allow", {"deny", "l7"})):
        if answer in found:
            return "unknown-identity" if peer is None and possible & against else answer
    if any(direction in policy.default_deny for policy in mine):
        return "deny"
    return "unknown-identity" if peer is None and possible & {"deny", "l7"} else "allow"


def in_any(selectors, labels):
    return labels is not None and any(selects(s, labels) for s in selectors)


def selects(selector, labels):
    for need in selector.requirements:
        source, name = need.key.split(":", 1)
        values = []
        for key, value in labels.items():
            its_source, its_name = key.split(":", 1)
            if its_name == name and source in ("any", its_source):
                values.append(value)
        met = {
            "In": any(v in need.values for v in values),
            "NotIn": not any(v in need.values for v in values),
            "Exists": len(values) > 0,
            "DoesNotExist": len(values) == 0,
        }[need.operator.value]
        if not met:
            return False
    return True


def ports_match(rule, protocol, port, own_ports, peer):
    if not rule.ports:
        return True
    for wanted in rule.ports:
        number = wanted.protocol.value
        if protocol not in ([6, 17, 132] if number == 0 else [number]):
            continue
        if not wanted.name:
            if wanted.first <= port <= wanted.last:
                return True
        elif rule.direction == Direction.INGRESS:
            if (protocol, port) in own_ports.get(wanted.name, ()):
                return True
        elif peer is not None:
            name = {6: "TCP", 17: "UDP", 132: "SCTP"}[protocol]
            text = peer.get("k8s:io.cilium.k8s.named-ports", "")
            if f"{wanted.name}={port}/{name}" in text.split(","):
                return True
    return False


def rule_set(policies, subject, direction, protocol, port, peer):
    """Return (L7 rules, whether a plain rule beside them allows all) that a packet meets."""
    labels, own_ports, is_node = subject
    rules, everything = set(), False
    for policy in policies:
        if policy.on_nodes != is_node or not selects(policy.subject, labels):
            continue
        for rule in policy.rules:
            if rule.direction != direction or rule.deny:
                continue
            if rule.peers is not None and not in_any(rule.peers.selectors, peer):
                continue
            if ports_match(rule, protocol, port, own_ports, peer):
                rules |= {rule} if rule.l7 else set()
                everything |= not rule.l7
    return rules, everything
