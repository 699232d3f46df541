# SPDX-License-Identifier: Apache-2.0
"""Collects the running canary's record and judges it: `python -m e2e.canary.report`.

Runs kubectl as a child process (with KUBECONFIG, or `.cluster/kubeconfig`); it blocks, and is
meant for tests and the command line. Exit status 1 when the budget is exceeded, 2 when nothing
can be judged.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from e2e.canary import budget
from e2e.canary.errors import CanaryError
from e2e.canary.sender import REPORT_PORT

NAMESPACE = "canary"
Kubectl = Callable[..., str]


def collect(kubectl: Kubectl) -> dict[str, Any]:
    """The sender's report. CanaryError when the sender cannot be asked or has stopped sending."""
    text = kubectl(
        *("-n", NAMESPACE, "exec", "sender", "--"),
        *("curl", "-sS", "--max-time", "10", f"http://127.0.0.1:{REPORT_PORT}/"),
    )
    try:
        report: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise CanaryError(f"the canary's sender answered {text[:200]!r}") from error
    if report["failed"]:
        raise CanaryError(f"the canary stopped sending: {report['failed']}")
    return report


def check(kubectl: Kubectl, ran: Sequence[budget.Ran] = ()) -> tuple[list[str], str]:
    """(a line per flow that broke its budget, naming tests of `ran`; the table)."""
    report = collect(kubectl)
    verdicts = budget.judge(report)
    return budget.failed(report, verdicts, ran), budget.table(report, verdicts)


def _kubectl(*args: str) -> str:
    default = Path(__file__).resolve().parents[2] / ".cluster" / "kubeconfig"
    env = {"KUBECONFIG": str(default), **os.environ}
    done = subprocess.run(["kubectl", *args], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CanaryError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    try:
        failures, text = check(_kubectl)
    except CanaryError as error:
        print(f"canary FAILED: it cannot be judged: {error}", file=sys.stderr)
        sys.exit(2)
    print("\n".join([text, *failures]))
    sys.exit(1 if failures else 0)
