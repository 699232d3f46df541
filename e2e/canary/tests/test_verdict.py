# SPDX-License-Identifier: Apache-2.0
"""A suite whose tests all pass and whose canary failed says so in its last lines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CONFTEST = """
import pytest
from e2e.canary.verdict import report_failures

def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        report_failures(session.config, ["canary FAILED: udp far v4: lost 3", "canary FAILED: x"])
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
"""


@pytest.mark.parametrize("more", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_the_last_lines_name_what_failed(tmp_path: Path, more: tuple[str, ...]) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_all.py").write_text("def test_fine() -> None: pass\n")
    done = subprocess.run(
        [
            sys.executable,
            *["-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", "--rootdir", "."],
            *more,
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    *_, first, second, last = done.stdout.strip().splitlines()
    assert first.startswith("ERROR canary FAILED: udp far v4: lost 3")
    assert second.startswith("ERROR canary FAILED: x")
    assert "1 passed, 2 errors" in last
