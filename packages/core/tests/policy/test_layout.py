# SPDX-License-Identifier: Apache-2.0
"""What endpoints share says the same as what each would have alone, and is gone with its users."""

import gc
from dataclasses import replace

from hypothesis import given

from cilium_core.policy.bits import Role
from cilium_core.policy.layout import EVERYONE, Claim, Layouts, Shape
from cilium_core.policy.parts import Parts
from cilium_core.policy.resolve import Side
from cilium_core.policy.rules import Direction, PeerSet

from .generate import CASES, examples, own_ports, packets, policy, selector


def elsewhere(rng, found):
    """Return the policy with other peers, as a template makes it for another namespace."""

    def peers(old):
        return old and PeerSet(frozenset(selector(rng) for _ in old.selectors))

    return replace(
        found, rules=tuple(replace(rule, peers=peers(rule.peers)) for rule in found.rules)
    )


@given(CASES)
@examples(0.6)
def test_sides_that_share_equal_sides_that_are_alone(rng):
    policies = [policy(rng) for _ in range(4)]
    policies += [elsewhere(rng, rng.choice(policies)) for _ in range(4)]
    parts, layouts, held = Parts(), Layouts(), []
    for _ in range(12):
        direction, named = rng.choice(list(Direction)), rng.choice([{}, own_ports(rng)])
        numbers = rng.sample(range(8), rng.randint(0, 4))

        def make(parts, layouts, direction=direction, named=named, numbers=numbers):
            found = [parts.of(n, policies[n], direction, named) for n in numbers]
            return Side(direction, found, layouts)

        alone, shared = make(Parts(), Layouts()), make(parts, layouts)
        assert shared.uses == alone.uses
        places = {
            use: 64 * use.role + 256 * rng.randrange(2) + n for n, use in enumerate(alone.uses)
        }
        assert shared.rows(7, places.__getitem__) == alone.rows(7, places.__getitem__)
        for _, protocol, port in packets():
            assert [*shared.covering(protocol, port)] == [*alone.covering(protocol, port)]
        held.append(shared)
        if rng.random() < 0.3:
            held.pop(rng.randrange(len(held)))


TCP = 6


def claim(first, last, use=EVERYONE, role=Role.ALLOW):
    return Claim(TCP, first, last, role, use)


def test_one_shape_has_one_layout():
    layouts = Layouts()
    one = layouts.of(Shape(False, (claim(80, 80, 0), claim(443, 443, 1))))
    assert layouts.of(Shape(False, (claim(80, 80, 0), claim(443, 443, 1)))) is one
    assert layouts.of(Shape(True, (claim(80, 80, 0), claim(443, 443, 1)))) is not one


def test_shapes_with_the_same_ports_share_cuts_and_prefixes(monkeypatch):
    layouts, made = Layouts(), []
    monkeypatch.setattr(
        "cilium_core.policy.layout.prefixes", lambda *args, **more: made.append(args) or []
    )
    ports = (claim(80, 80, 0), claim(443, 443, 1))
    held = [
        layouts.of(Shape(False, ports)),
        layouts.of(Shape(False, (*ports, Claim(0, 0, 65535, Role.DENY, 2)))),
        layouts.of(Shape(False, tuple(c._replace(role=Role.L7) for c in ports))),
    ]
    assert len({id(layout) for layout in held}) == 3
    assert len(made) == 1


def test_nothing_outlives_its_users():
    parts, layouts = Parts(), Layouts()
    layout = layouts.of(Shape(False, (claim(80, 80),)))
    del layout
    gc.collect()
    for shared in (*vars(layouts).values(), *vars(parts).values()):
        assert not shared
