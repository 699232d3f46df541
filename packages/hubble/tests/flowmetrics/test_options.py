# SPDX-License-Identifier: Apache-2.0
"""What `hubble.metrics.enabled` may say, and how what it may not say is refused."""

from __future__ import annotations

import pytest

from cilium_core.errors import ConfigError
from cilium_hubble.flowmetrics.options import Asked, parse


def test_what_upstream_takes() -> None:
    found = parse(
        "dns:query;ignoreAAAA drop flow:sourceContext=pod|ip;destinationContext=dns|workload-name"
        " httpV2:labelsContext=traffic_direction,source_namespace flows-to-world:any-drop;port"
    )
    assert [one.name for one in found] == ["dns", "drop", "flow", "httpV2", "flows-to-world"]
    assert found[0] == Asked("dns", frozenset({"query", "ignoreAAAA"}))
    assert found[2].context("sourceContext") == ("pod", "ip")
    assert found[2].context("destinationContext") == ("dns", "workload-name")
    assert found[3].labels == ("source_namespace", "traffic_direction")
    assert parse("") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("drops", "'drops' is not a metric; there are dns, drop, flow"),
        ("sctp", "'sctp' is not a metric; chunk types of SCTP are not recorded"),
        ("tcp:query", "tcp: 'query' is not an option"),
        ("httpV2:exemplars=true", "httpV2: 'exemplars' is not an option; metrics are told"),
        ("drop:sourceContext=shoe", "drop: sourceContext: 'shoe' is none of identity,"),
        ("drop:labelsContext=source_shoe", "drop: labelsContext: 'source_shoe' is none of"),
        ("tcp drop tcp", "'tcp' is there twice"),
        ("http httpV2", "have the same metrics; keep one"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "hubble-metrics" in str(caught.value)
    assert words in str(caught.value)
