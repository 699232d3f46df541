# SPDX-License-Identifier: Apache-2.0
"""Aliases say whose a link is, within what the kernel keeps of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_agent.endpoints.alias import LIMIT, Description, alias_of, is_marked, parse
from cilium_agent.host.errors import LinkError
from cilium_agent.host.netns import on_node
from cilium_agent.model import Endpoint

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True)
PATHS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=300).map("/".__add__)


def endpoint(namespace: str, name: str, netns: str, uid: str = "u" * 36) -> Endpoint:
    return Endpoint(
        7, "c1", "eth0", netns, namespace, name, uid, None, None, "lxc1", 3, bytes(6), bytes(6)
    )


@given(NAMES.filter(lambda name: len(name) < 64), NAMES, PATHS)
def test_an_alias_fits_and_tells_what_it_holds(namespace: str, name: str, netns: str) -> None:
    alias = alias_of(endpoint(namespace, name, netns))
    assert len(alias.encode()) <= LIMIT
    assert is_marked(alias)
    said = parse(alias)
    assert (said.pod_uid, said.interface) == ("u" * 36, "eth0")
    assert (said.pod_namespace, said.pod_name) in [(namespace, name), ("", "")]
    assert said.netns in (netns, "")


@pytest.mark.parametrize(
    ("name", "netns", "expected"),
    [
        (60, 40, ("default", "p" * 60, "/" + "n" * 40)),
        (253, 40, ("", "", "/" + "n" * 40)),
        (60, 250, ("", "", "")),
    ],
)
def test_what_finds_no_room_is_left_out(name: int, netns: int, expected: tuple) -> None:
    said = parse(alias_of(endpoint("default", "p" * name, "/" + "n" * netns)))
    assert said == Description("u" * 36, "eth0", *expected)


@pytest.mark.parametrize("alias", ["", "eth0 of something", "cilium-agents uid=1", "uid=1"])
def test_what_others_write_is_not_ours(alias: str) -> None:
    assert not is_marked(alias)
    assert parse(alias) == Description()


@pytest.mark.root
@pytest.mark.usefixtures("node")
async def test_the_kernel_takes_as_much_as_the_limit_says() -> None:
    await on_node("fits", lambda route: route.link("set", index=1, ifalias="x" * LIMIT))
    with pytest.raises(LinkError):
        await on_node("more", lambda route: route.link("set", index=1, ifalias="x" * (LIMIT + 1)))
