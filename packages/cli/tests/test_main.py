# SPDX-License-Identifier: Apache-2.0
"""The command itself, as a process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cilium_cli.durations import parse_duration
from cilium_cli.errors import CliError

COMMANDS = ("status", "install", "upgrade", "uninstall", "version", "policy")


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "CILIUM_NAMESPACE")}
    return subprocess.run(
        [sys.executable, "-m", "cilium_cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, "HOME": "/nonexistent", **env},
    )


def test_help_lists_commands_and_examples() -> None:
    text = run("--help").stdout
    assert all(f"    {name}" in text for name in COMMANDS)
    for name in COMMANDS:
        done = run(name, "--help")
        assert done.returncode == 0
        assert f"examples:\n  cilium {name}" in done.stdout
    forward = run("hubble", "port-forward", "--help").stdout
    assert "examples:\n  cilium hubble port-forward" in forward


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "<command>"),
        (("nonsense",), "nonsense"),
        (("status", "--nonsense"), "--nonsense"),
        (("status", "-o", "xml"), "xml"),
        (("status", "--wait-duration", "soon"), "--wait-duration"),
        (("status", "--worker-count", "0"), "--worker-count"),
        (("status", "--as-group", "g"), "--as"),
        (("status",), "current-context"),
        (("status", "--kubeconfig", "/none"), "/none"),
        (("upgrade", "--reuse-values", "--reset-values"), "--reset-values"),
        (("install", "--version", "9"), "--version"),
    ],
)
def test_errors_look_alike(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("\nError: ")
    assert said in done.stderr
    assert done.stdout == ""


def test_version() -> None:
    done = run("version")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0].startswith("cilium-cli: 0.1.0 compiled with python 3.")
    assert " on linux/" in lines[0]
    assert lines[1] == "cilium image (default): v0.1.0"
    assert lines[2].startswith("cilium image (stable): ")
    assert lines[3].startswith(
        "cilium image (running): unknown. Unable to obtain cilium version. Reason: "
    )
    assert len(run("version", "--client").stdout.splitlines()) == 3


def test_help_imports_little() -> None:
    """What makes --help slow must not be imported for it."""
    code = (
        "import sys; sys.argv=['cilium','--help']\n"
        "from cilium_cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "slow = {'aiohttp', 'asyncio', 'yaml', 'msgspec', 'pydantic', 'typer'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m0s", 300), ("1h", 3600), ("1.5s", 1.5), ("250ms", 0.25)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration("--x", text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5m x", "-5s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(CliError, match="--x"):
        parse_duration("--x", text)
