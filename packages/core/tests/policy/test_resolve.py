# SPDX-License-Identifier: Apache-2.0
"""What rows say: complete, as few as possible, and without cells that cannot matter."""

from cilium_core.policy.bits import Role
from cilium_core.policy.layout import Layouts
from cilium_core.policy.parts import Part
from cilium_core.policy.resolve import Side
from cilium_core.policy.rules import (
    Direction,
    L7Kind,
    L7Rules,
    Operator,
    Origin,
    PeerSet,
    Policy,
    PortRange,
    Protocol,
    Requirement,
    Rule,
    Selector,
)
from cilium_core.policy.tables import Cell, Row, RowKey

ORIGIN = Origin("NetworkPolicy", "x", "p")
TCP, UDP = Protocol.TCP, Protocol.UDP
L7 = L7Rules(L7Kind.HTTP, frozenset({()}))


def peers(name):
    return PeerSet(frozenset({Selector((Requirement("k8s:app", Operator.IN, (name,)),))}))


def rule(found, *ports, deny=False, l7=None):
    return Rule(Direction.INGRESS, deny, found, frozenset(ports), l7, ORIGIN)


def make(*rules, default_deny=True):
    closed = frozenset({Direction.INGRESS}) if default_deny else frozenset()
    part = Part(Policy(ORIGIN, Selector(), closed, rules), Direction.INGRESS, {})
    return Side(Direction.INGRESS, [part], Layouts())


def rows(*rules, default_deny=True):
    """Return the rows of the rules, with use n (in order of appearance) at bit n of its role."""
    side = make(*rules, default_deny=default_deny)
    numbers = {use: 64 * use.role + n for n, use in enumerate(side.uses)}
    return {key[2:]: row for key, row in side.rows(7, numbers.__getitem__).items()}


def test_rows_carry_policy_and_direction():
    side = Side(Direction.EGRESS, [], Layouts())
    assert side.rows(7, {}.__getitem__) == {RowKey(7, Direction.EGRESS): Row(any_allow=True)}


def test_a_rule_on_all_ports_is_pushed_into_the_rows_of_single_ports():
    found = rows(rule(peers("a")), rule(peers("b"), PortRange(TCP, 80, 80)))
    assert found == {
        (0, 0, 0): Row(cells=(Cell(0, 1, 0, 0),)),
        (6, 80, 16): Row(cells=(Cell(0, 3, 0, 0),)),
    }


def test_overlapping_ranges_are_cut():
    found = rows(
        rule(peers("a"), PortRange(TCP, 0, 32767)), rule(peers("b"), PortRange(TCP, 16384, 65535))
    )
    assert found == {
        (0, 0, 0): Row(),
        (6, 0, 0): Row(cells=(Cell(0, 1, 0, 0),)),
        (6, 16384, 2): Row(cells=(Cell(0, 3, 0, 0),)),
        (6, 32768, 1): Row(cells=(Cell(0, 2, 0, 0),)),
    }


def test_neighbours_that_say_the_same_are_one_row():
    both = rows(rule(peers("a"), PortRange(TCP, 80, 80), PortRange(TCP, 81, 81)))
    assert set(both) == {(0, 0, 0), (6, 80, 15)}


def test_protocol_any_with_ports_is_the_three_with_ports():
    found = rows(rule(None, PortRange(Protocol.ANY, 53, 53)))
    assert set(found) == {(0, 0, 0), (6, 53, 16), (17, 53, 16), (132, 53, 16)}


def test_an_icmp_type_stands_in_the_port():
    assert set(rows(rule(None, PortRange(Protocol.ICMPV6, 128, 128)))) == {
        (0, 0, 0),
        (58, 128, 16),
    }


def test_what_denies_everyone_needs_no_cells():
    port = PortRange(TCP, 80, 80)
    found = rows(rule(None, port, deny=True), rule(peers("a"), port), rule(None, port))
    assert found[(6, 80, 16)] == Row(any_deny=True)


def test_allow_cells_go_where_everyone_is_allowed_and_others_stay():
    port = PortRange(TCP, 80, 80)
    found = rows(rule(peers("a")), rule(peers("b"), port, deny=True), rule(None, port))
    assert found[(0, 0, 0)] == Row(cells=(Cell(0, 1, 0, 0),))
    # Everyone who is known, since somebody who is not might be a "b".
    assert found[(6, 80, 16)] == Row(cells=(Cell(0, 4, 0, 0), Cell(1, 0, 2, 0)), known_only=True)


def test_everyone_is_everyone_where_nobody_is_kept_out():
    port = PortRange(TCP, 80, 80)
    assert rows(rule(peers("a")), rule(None, port))[(6, 80, 16)] == Row(any_allow=True)
    assert rows(rule(peers("a"), port), rule(None, port, l7=L7))[(6, 80, 16)] == Row(
        any_l7=True, cells=(Cell(0, 1, 0, 0),)
    )


def test_what_everyone_gets_is_inspected_before_strangers_get_it():
    port = PortRange(TCP, 80, 80)
    found = rows(rule(peers("a"), port, l7=L7), rule(None, port))
    assert found[(6, 80, 16)] == Row(cells=(Cell(0, 2, 0, 0), Cell(2, 0, 0, 1)), known_only=True)
    found = rows(rule(peers("a"), port, deny=True), rule(None, port), rule(None, port, l7=L7))
    assert found[(6, 80, 16)] == Row(
        cells=(Cell(0, 2, 0, 0), Cell(1, 0, 1, 0), Cell(2, 0, 0, 4)), known_only=True
    )


def test_default_allow_is_a_flag_on_every_row():
    found = rows(
        rule(peers("a"), PortRange(TCP, 80, 80)),
        rule(peers("b"), PortRange(UDP, 53, 53), deny=True),
        default_deny=False,
    )
    assert found == {
        (0, 0, 0): Row(any_allow=True),
        (17, 53, 16): Row(cells=(Cell(0, 4, 0, 0), Cell(1, 0, 2, 0)), known_only=True),
    }


def test_allow_and_l7_for_the_same_peers_are_both_said():
    port = PortRange(TCP, 80, 80)
    found = rows(rule(peers("a"), port, l7=L7), rule(peers("a"), port))
    assert found[(6, 80, 16)] == Row(cells=(Cell(0, 2, 0, 0), Cell(2, 0, 0, 1)))
    assert Role.L7 == 2


def test_peers_that_are_nobody_say_nothing():
    assert rows(rule(PeerSet(frozenset()), PortRange(TCP, 80, 80))) == {(0, 0, 0): Row()}


def test_a_row_too_wide_for_the_kernel_lets_nothing_through():
    side = make(*(rule(peers(f"app{n}"), PortRange(TCP, 80, 80)) for n in range(133)))
    numbers = {use: 256 * n for n, use in enumerate(side.uses)}
    found = side.rows(7, numbers.__getitem__)
    assert found[RowKey(7, Direction.INGRESS, TCP, 80, 16)] == Row(any_deny=True)
    assert side.too_wide()
    numbers = {use: n for n, use in enumerate(side.uses)}
    assert len(side.rows(7, numbers.__getitem__)[RowKey(7, 1, TCP, 80, 16)].cells) == 3
    assert not side.too_wide()
