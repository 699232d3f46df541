# SPDX-License-Identifier: Apache-2.0
"""Processes are known by pid and start time, so that a reused pid is never touched."""

from __future__ import annotations

import subprocess
from pathlib import Path

from e2e.cluster import processes


def test_a_remembered_process_is_recalled_and_stopped(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    file = tmp_path / "pid"
    processes.remember(file, child.pid)
    assert processes.recall(file) == child.pid
    processes.stop(file)
    assert processes.start_time(child.pid) is None
    assert not file.exists()


def test_another_process_with_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    file = tmp_path / "pid"
    file.write_text(f"{child.pid} 1\n")
    try:
        assert processes.recall(file) is None
        processes.stop(file)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_missing_or_damaged_file_means_no_process(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    assert processes.recall(file) is None
    file.write_text("garbage")
    assert processes.recall(file) is None
