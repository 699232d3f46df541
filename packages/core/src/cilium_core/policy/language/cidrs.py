# SPDX-License-Identifier: Apache-2.0
"""fromCIDR, fromCIDRSet and ipBlock: prefixes with exceptions, as selectors over `cidr:` labels.

An exception narrows its own prefix only; it denies nothing. It needs an identity of its own, or
its addresses would be judged as the prefix around them: see `prefixes`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

from cilium_core.addresses import Network
from cilium_core.policy import cidr
from cilium_core.policy.language import groups
from cilium_core.policy.language.entities import NOBODY
from cilium_core.policy.language.fields import Field, shown
from cilium_core.policy.language.selectors import exists, selector
from cilium_core.policy.rules import Operator, Policy, Requirement, Selector

_MASK = re.compile(r"0|[1-9][0-9]{0,2}")
_MAPPED = IPv6Network("::ffff:0:0/96")


def network(field: Field, *, bare: bool = False) -> Network | None:
    """Return the prefix in a field, host bits cleared. With `bare` an address alone will do."""
    text = field.filled()
    if text is None:
        return None
    address, slash, mask = text.partition("/")
    wrong = "10.0.0.0/8 or fd00::/8 would be one"
    if not slash and not bare:
        field.refuse(f"{shown(text)} is no CIDR, the prefix length is missing; {wrong}")
        return None
    try:
        if "%" in address or (slash and not _MASK.fullmatch(mask)):
            raise ValueError(text)
        found = ip_network(text, strict=False)
    except ValueError:
        field.refuse(f"{shown(text)} is no CIDR; {wrong}")
        return None
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        field.refuse(f"{shown(text)} is an IPv4 address inside IPv6; write it as IPv4")
        return None
    return found


def plain(field: Field, families: tuple[int, ...]) -> tuple[Selector, ...]:
    """Return the selectors of one element of fromCIDR or toCIDR."""
    found = network(field, bare=True)
    return (_select(found, (), families),) if found else ()


def with_exceptions(field: Field, families: tuple[int, ...]) -> tuple[Selector, ...]:
    """Return the selectors of one element of fromCIDRSet or toCIDRSet."""
    if not field.is_object():
        return ()
    members = field.members(("cidr", "cidrGroupRef", "cidrGroupSelector", "except"))
    chosen = [name for name in members if name != "except"]
    if len(chosen) != 1:
        field.refuse("exactly one of cidr, cidrGroupRef and cidrGroupSelector is needed")
        return ()
    if "cidr" in members:
        return ip_block(members, families)
    left_out = tuple(_except(members, None, families))
    if "cidrGroupRef" in members:
        picked = groups.by_name(members["cidrGroupRef"])
    else:
        picked = groups.by_labels(members["cidrGroupSelector"])
    return tuple(selector(*one.requirements, *left_out) for one in picked)


def ip_block(members: dict[str, Field], families: tuple[int, ...]) -> tuple[Selector, ...]:
    """Return the selectors of a `cidr` with its `except`."""
    found = network(members["cidr"])
    left_out = tuple(_except(members, found, families))
    return (_select(found, left_out, families),) if found else ()


def prefixes(policy: Policy) -> frozenset[Network]:
    """Return every prefix that a policy names, the exceptions included.

    Each needs an identity of its own (`cidr.cidr_labels`) before the policy is enforced. `/0` is
    not among them, it has a reserved identity; nor are those of CIDR groups.
    """
    keys = {
        requirement.key
        for rule in policy.rules
        if rule.peers is not None
        for one in rule.peers.selectors
        for requirement in one.requirements
    }
    found = {cidr.network_of(key) for key in keys}
    return frozenset(one for one in found if one and one.prefixlen)


def _select(
    found: Network, left_out: tuple[Requirement, ...], families: tuple[int, ...]
) -> Selector:
    if not found.prefixlen and found.version not in families:
        return NOBODY
    return selector(exists(_key(found, families)), *left_out)


def _key(found: Network, families: tuple[int, ...]) -> str:
    """Return the label that stands for a prefix; for `/0` it is the world's, of that family."""
    if found.prefixlen or found.version not in families:
        return cidr.cidr_key(found)
    return cidr.world(found.version, dual_stack=len(families) > 1)


def _except(
    members: dict[str, Field], around: Network | None, families: tuple[int, ...]
) -> Iterator[Requirement]:
    if "except" not in members:
        return
    for item in members["except"].items():
        found = network(item)
        if found is None:
            continue
        if around and not _inside(found, around):
            item.refuse(f"{shown(str(found))} is not inside {around}, so nothing is left out")
        else:
            yield Requirement(_key(found, families), Operator.DOES_NOT_EXIST)


def _inside(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network):
        return inner.subnet_of(outer)
    return False
