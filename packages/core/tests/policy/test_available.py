# SPDX-License-Identifier: Apache-2.0
"""What is valid and not enforced as written is hinted at."""

from __future__ import annotations

from typing import Any

import pytest

from cilium_core.policy.available import KAFKA_DROPPED, L7_DROPPED, hints
from cilium_core.policy.language import parse

HTTP = [{"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": [{}]}}]
KAFKA = [{"ports": [{"port": "9092", "protocol": "TCP"}], "rules": {"kafka": [{"topic": "t"}]}}]
NAME = [{"matchName": "example.com"}]
PATTERN = [{"matchPattern": "*.example.com"}]


@pytest.mark.parametrize(
    ("egress", "said"),
    [
        ({"toEntities": ["world"]}, []),
        ({}, []),
        ({"toFQDNs": NAME}, []),
        ({"toFQDNs": PATTERN}, []),
        ({"toFQDNs": []}, []),
        ({"toPorts": HTTP}, [L7_DROPPED]),
        ({"toPorts": KAFKA}, [KAFKA_DROPPED]),
        ({"toFQDNs": NAME, "toPorts": HTTP}, [L7_DROPPED]),
    ],
)
def test_hints(egress: dict[str, Any], said: list[str]) -> None:
    body = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p", "namespace": "x"},
        "spec": {"endpointSelector": {}, "egress": [egress]},
    }
    assert hints(parse(body, "default")) == said
