# SPDX-License-Identifier: Apache-2.0
"""Writes `v1/*.proto` from the catalogue and compiles them: `python -m emojivoto.protogen`.

A developer's tool (it needs grpcio-tools); the generated modules are committed, so that neither
the image nor the tests compile anything. A test holds them against the catalogue. Stubs are not
generated: `rpc.py` reads the services from their descriptors.
"""

import importlib
from pathlib import Path

from emojivoto.catalogue import CATALOGUE

HEAD = '// SPDX-License-Identifier: Apache-2.0\nsyntax = "proto3";\npackage emojivoto.v1;\n'

EMOJI_PROTO = (
    HEAD
    + """
message Emoji {
  string unicode = 1;
  string shortcode = 2;
}

message ListAllEmojiRequest {}

message ListAllEmojiResponse {
  repeated Emoji list = 1;
}

message FindByShortcodeRequest {
  string shortcode = 1;
}

// The emoji is absent when no emoji has the shortcode.
message FindByShortcodeResponse {
  Emoji emoji = 1;
}

service EmojiService {
  rpc ListAll(ListAllEmojiRequest) returns (ListAllEmojiResponse);
  rpc FindByShortcode(FindByShortcodeRequest) returns (FindByShortcodeResponse);
}
"""
)


def voting_proto() -> str:
    """The text of voting.proto: Results, and one method per emoji."""
    votes = "\n".join(
        f"  rpc {emoji.method}(VoteRequest) returns (VoteResponse);" for emoji in CATALOGUE
    )
    return f"""{HEAD}
message VotingResult {{
  string shortcode = 1;
  int32 votes = 2;
}}

message VoteRequest {{}}

message VoteResponse {{}}

message ResultsRequest {{}}

message ResultsResponse {{
  repeated VotingResult results = 1;
}}

service VotingService {{
{votes}
  rpc Results(ResultsRequest) returns (ResultsResponse);
}}
"""


def main() -> None:
    """Write the protos next to this file and generate their Python modules."""
    protoc = importlib.import_module("grpc_tools.protoc")
    root = Path(__file__).resolve().parent.parent
    folder = root / "emojivoto" / "v1"
    (folder / "emoji.proto").write_text(EMOJI_PROTO)
    (folder / "voting.proto").write_text(voting_proto())
    outputs = [f"--{kind}_out={root}" for kind in ("python", "pyi")]
    files = [str(folder / "emoji.proto"), str(folder / "voting.proto")]
    status = protoc.main(["protoc", f"-I{root}", *outputs, *files])
    if status != 0:
        raise SystemExit(f"protoc failed with exit status {status}")


if __name__ == "__main__":
    main()
