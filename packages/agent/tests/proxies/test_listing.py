# SPDX-License-Identifier: Apache-2.0
"""What `cilium-dbg proxy list` says of rule sets on their way, in force, and refused."""

from __future__ import annotations

from redirect_fakes import FakeRedirects

from cilium_agent.dbg.lists import proxies
from cilium_agent.proxies.listing import redirects
from cilium_agent.proxies.rulesets import RuleSets

from .test_rulesets import AT, OTHER, rules
from .test_service import want


def test_states() -> None:
    assert redirects(None) == []
    book = RuleSets(FakeRedirects())
    want(book, {AT: rules(), OTHER: rules(field="spec.egress[1]")})
    first, second = redirects(book)
    assert (first["state"], second["state"], first["policies"]) == ("pending", "pending", [5])
    book.acknowledge(first["port"], first["revision"])
    book.acknowledge(second["port"], second["revision"], "port is taken")
    first, second = redirects(book)
    assert (first["state"], second["state"]) == ("in-force", "refused")
    text = proxies([first, second])
    assert "CiliumNetworkPolicy x/p spec.egress[0]" in text
    assert text.splitlines()[-1].strip() == "error: port is taken"
