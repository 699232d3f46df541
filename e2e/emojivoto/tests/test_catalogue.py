# SPDX-License-Identifier: Apache-2.0
"""The catalogue and the committed protos agree."""

import pytest

from emojivoto.catalogue import BY_SHORTCODE, CATALOGUE, DOUGHNUT
from emojivoto.protogen import EMOJI_PROTO, voting_proto
from emojivoto.v1 import emoji_pb2, voting_pb2


def test_a_hundred_different_emoji() -> None:
    assert len(CATALOGUE) == 100
    assert len(BY_SHORTCODE) == 100
    assert len({emoji.unicode for emoji in CATALOGUE}) == 100


@pytest.mark.parametrize(
    ("shortcode", "method"),
    [
        (":doughnut:", "VoteDoughnut"),
        (":joy:", "VoteJoy"),
        (":100:", "Vote100"),
        (":see_no_evil:", "VoteSeeNoEvil"),
        (":cat2:", "VoteCat2"),
    ],
)
def test_method_names(shortcode: str, method: str) -> None:
    assert BY_SHORTCODE[shortcode].method == method


def test_doughnut_is_one_code_point() -> None:
    assert DOUGHNUT.unicode == "\N{DOUGHNUT}"


def test_generated_modules_are_current() -> None:
    service = voting_pb2.DESCRIPTOR.services_by_name["VotingService"]
    assert service.full_name == "emojivoto.v1.VotingService"
    assert [method.name for method in service.methods] == [
        *(emoji.method for emoji in CATALOGUE),
        "Results",
    ]
    emoji_service = emoji_pb2.DESCRIPTOR.services_by_name["EmojiService"]
    assert [method.name for method in emoji_service.methods] == ["ListAll", "FindByShortcode"]
    assert "rpc VoteDoughnut(VoteRequest) returns (VoteResponse);" in voting_proto()
    assert "rpc ListAll(" in EMOJI_PROTO
