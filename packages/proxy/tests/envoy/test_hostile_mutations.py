# SPDX-License-Identifier: Apache-2.0
"""The hostile cases cut, spliced and mutated: whatever the server is made to see, it sees as a
request that the rules allow. `MUTATIONS_SEED` repeats a run, `MUTATIONS_ROUNDS` makes it longer."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from http1_cases import ADMIN, CASES, RULES
from http_model import Request, judge
from proxy_fakes import rule_set
from side_by_side import Found, run

pytestmark = pytest.mark.root
EACH = 230  # cases in a round, each from an address of its own
SEEDS = [b"".join(case.sends) for case in CASES.values() if sum(map(len, case.sends)) < 2000]
PIECES = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b";", b",", b"0", b"%2e"]
PIECES += [b"/", b"..", b"?", b"#", b"//", b"Transfer-Encoding: chunked\r\n", b"Host: y\r\n", ADMIN]
PIECES += [b"Content-Length: 4\r\n", b"0\r\n\r\n", b"HTTP/1.0", b"\xff", b"Connection: X-Key\r\n"]


def mutated(chance: random.Random) -> bytes:
    """Return one or two cases with a few places changed."""
    data = chance.choice(SEEDS)
    if chance.random() < 0.5:
        data += chance.choice(SEEDS)
    for _ in range(chance.randint(1, 2)):
        at = chance.randrange(len(data) + 1)
        upto = at + chance.choice((0, 0, 1, 2, 8))
        data = data[:at] + chance.choice(PIECES) + data[upto:]
    return data


def allowed(line: str, fields: list[tuple[str, str]]) -> bool:
    headers: dict[str, str] = {}
    for name, value in fields:
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    method, _, path = line.partition(" ")
    # What rules added or took away was judged before.
    headers.setdefault("x-old", "")
    request = Request(method, path, headers.get("host", ""), headers)
    return judge(rule_set(10007, 1, RULES), request).allowed


def test_what_the_server_sees_is_what_the_rules_allow(rig: Any) -> None:
    seed = int(os.environ.get("MUTATIONS_SEED", random.randrange(1 << 32)))
    chance, passed, refused = random.Random(seed), 0, 0
    print(f"MUTATIONS_SEED={seed}")
    assert rig.put(7, *RULES) == ""
    for _ in range(int(os.environ.get("MUTATIONS_ROUNDS", "1"))):
        sends = {f"{n}": (mutated(chance),) for n in range(EACH)}
        for name, became in run(rig, sends).items():
            check(sends[name][0], became)
            passed += len(became.seen.lines)
            refused += not became.seen.lines
    print(f"{passed} requests passed, {refused} connections had none")
    assert passed > 20
    assert refused > 20


def check(sent: bytes, became: Found) -> None:
    assert became.seen.strange == [], sent
    for line, fields in zip(became.seen.lines, became.seen.headers, strict=True):
        assert allowed(line, fields), (line, fields, sent)
