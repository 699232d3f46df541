# SPDX-License-Identifier: Apache-2.0
"""Cycles made after the start are found; what the start made is not looked through."""

import gc
import weakref

import pytest

from cilium_agent import garbage


@pytest.fixture(autouse=True)
def _as_before():
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class _Node:
    def __init__(self):
        self.itself = self


def test_what_the_start_made_is_left_out():
    made = [_Node() for _ in range(100)]
    garbage.settle()
    assert gc.get_freeze_count() > len(made)
    assert not any(isinstance(one, _Node) for one in gc.get_objects())


def test_a_cycle_made_later_is_freed():
    garbage.settle()
    gone = weakref.ref(_Node())
    gc.collect()
    assert gone() is None
