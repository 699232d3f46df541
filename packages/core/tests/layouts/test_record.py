# SPDX-License-Identifier: Apache-2.0
"""Records pack as C would, and what C would pad silently is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_core.layouts import datapath, events, policy
from cilium_core.layouts.record import U8, U32, Be16, Record, record


@record("sample")
class Sample(Record):
    """A byte, a port, a word."""

    kind: U8
    spare: U8
    port: Be16
    number: U32


@given(st.integers(0, 255), st.integers(0, 65535), st.integers(0, 2**32 - 1))
def test_round_trip(kind, port, number):
    value = Sample(kind, 0, port, number)
    assert Sample.unpack(value.pack()) == value


def test_bytes_are_little_endian_but_for_network_order():
    assert Sample(1, 0, 80, 2).pack().hex() == "0100005002000000"


def test_layout_gives_offsets():
    assert [(f.name, f.offset, f.size) for f in Sample.layout()] == [
        ("kind", 0, 1),
        ("spare", 1, 1),
        ("port", 2, 2),
        ("number", 4, 4),
    ]


def test_hidden_padding_is_refused():
    with pytest.raises(TypeError, match="declare padding"):

        @record("bad")
        class Bad(Record):
            kind: U8
            number: U32


def test_a_value_too_large_is_refused():
    with pytest.raises(Exception, match="255|ubyte"):
        Sample(256, 0, 0, 0).pack()


def test_many_rows_are_packed_without_objects():
    rows = [(0, 0, 0), (2**32 - 1, 7, 2**64 - 1)]
    packed = policy.BitsInfo.pack_rows(rows)
    assert packed == b"".join(policy.BitsInfo(*row).pack() for row in rows)
    assert list(policy.BitsInfo.unpack_rows(packed)) == rows
    with pytest.raises(TypeError, match="Sample has members in network order"):
        Sample.pack_rows([(1, 0, 80, 2)])


def test_a_rings_elements_have_no_size():
    sizes = {spec.name: (spec.key_size, spec.value_size) for spec in datapath.ALL_MAPS}
    assert sizes["cilium_events_v1"] == (0, 0)
    assert sizes["cilium_ct_v1"] == (40, 64)
    assert sizes["cilium_policy_rows_v1"] == (12, 136)


def test_events_are_of_one_size():
    assert events.Event.SIZE == 128


def test_map_names_are_unique_and_versioned():
    names = [spec.name for spec in datapath.ALL_MAPS]
    assert len(set(names)) == len(names)
    assert all(name.rsplit("_v", 1)[1].isdigit() for name in names)
