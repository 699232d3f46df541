# SPDX-License-Identifier: Apache-2.0
"""The help shows examples, and each of them is a command line that is taken."""

from __future__ import annotations

import shlex

from cilium_agent.dbg import main as module


def test_examples() -> None:
    parser = module._parser()
    assert module.EXAMPLES in parser.format_help()
    for line in module.EXAMPLES.splitlines()[1:]:
        assert parser.parse_args(shlex.split(line)[1:])
