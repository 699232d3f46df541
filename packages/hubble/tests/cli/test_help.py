# SPDX-License-Identifier: Apache-2.0
"""The help shows examples, and each of them is a command line that is taken."""

from __future__ import annotations

import shlex

import pytest

from cilium_hubble.cli import main as module


@pytest.mark.parametrize(
    ("words", "examples"),
    [(["--help"], module.EXAMPLES), (["observe", "--help"], module.OBSERVE_EXAMPLES)],
)
def test_examples(words: list[str], examples: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        module.run(words)
    assert examples in capsys.readouterr().out
    for line in examples.splitlines()[1:]:
        assert module._parser().parse_args(shlex.split(line)[1:])
