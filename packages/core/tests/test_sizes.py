# SPDX-License-Identifier: Apache-2.0
"""Which maps have a size that may be chosen."""

from __future__ import annotations

from cilium_core.layouts.datapath import ALL_MAPS
from cilium_core.layouts.sizes import MapSizes


def test_nothing_chosen_is_what_is_declared() -> None:
    assert [MapSizes().of(spec) for spec in ALL_MAPS] == list(ALL_MAPS)


def test_only_sizable_maps_change() -> None:
    sizes = MapSizes(connections=5000, services=3000)
    changed = {spec.name: sizes.of(spec).max_entries for spec in ALL_MAPS if sizes.of(spec) != spec}
    assert changed == {
        "cilium_ct_v1": 5000,
        "cilium_lb_services_v1": 3000,
        "cilium_lb_backends_v1": 3000,
        "cilium_lb_slots_v1": 12000,
    }
    assert set(changed) == {spec.name for spec in ALL_MAPS if spec.sizable}
