# SPDX-License-Identifier: Apache-2.0
"""Makes pytest report a broken budget as an error, so that the end of every log names it.

A table in the middle of a long output is not seen: each line here becomes an error of its own,
which pytest counts in its closing line and repeats in its short summary.
"""

from collections.abc import Sequence

import pytest


def report_failures(config: pytest.Config, lines: Sequence[str]) -> None:
    """Report each line as an error; to be called in `pytest_sessionfinish`."""
    for line in lines:
        config.hook.pytest_runtest_logreport(
            report=pytest.TestReport(
                nodeid=line,
                location=("canary", None, line),
                keywords={},
                outcome="failed",
                longrepr=line,
                when="teardown",
            )
        )
