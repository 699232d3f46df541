# SPDX-License-Identifier: Apache-2.0
"""What is told to Helm, and the chart that is carried."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cilium_cli import helm, lifecycle
from cilium_cli.arguments import build
from cilium_cli.errors import CliError, HelmError
from cilium_cli.main import COMMANDS


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A helm that writes its arguments down, one per line, and fails if a file says so."""
    script = tmp_path / "helm"
    script.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/args\necho done\n'
        f"test -f {tmp_path}/slow && sleep 0.4\n"
        f"if test -f {tmp_path}/fail; then\n"
        f'  echo "Error: $(cat {tmp_path}/fail)" >&2; exit 1\nfi\nexit 0\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def arguments(folder: Path) -> list[str]:
    return (folder / "args").read_text().splitlines()


def test_install(called: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = lifecycle.Release("r", "ns", "/k", "ctx", "jane", ("a", "b"))
    settings = (("--set", "a=1"), ("--set-string", "b=2"))
    change = lifecycle.Change(("v.yaml",), settings, "v0.1.0", dry_run=True)
    lifecycle.install(release, change)
    assert arguments(called) == [
        *("install", "r", str(helm.chart_path()), "--namespace", "ns", "--kubeconfig", "/k"),
        *("--kube-context", "ctx", "--kube-as-user", "jane"),
        *("--kube-as-group", "a", "--kube-as-group", "b"),
        *("--values", "v.yaml", "--set", "a=1", "--set-string", "b=2", "--dry-run=server"),
    ]
    assert capsys.readouterr().out == "done\n"


def test_upgrade(called: Path) -> None:
    lifecycle.upgrade(lifecycle.Release(), lifecycle.Change(reuse=True))
    assert arguments(called)[:2] == ["upgrade", "cilium"]
    assert arguments(called)[-1] == "--reuse-values"
    lifecycle.upgrade(lifecycle.Release(), lifecycle.Change(reset_then_reuse=True))
    assert arguments(called)[-1] == "--reset-then-reuse-values"


def test_install_over_a_release_suggests_upgrade(called: Path) -> None:
    (called / "fail").write_text("INSTALLATION FAILED: cannot re-use a name that is still in use")
    with pytest.raises(HelmError, match="^cilium is already installed in namespace kube-system; "):
        lifecycle.install(lifecycle.Release(), lifecycle.Change())
    with pytest.raises(HelmError, match="still in use$"):
        lifecycle.upgrade(lifecycle.Release(), lifecycle.Change())


def test_flags_of_values_reach_helm(called: Path) -> None:
    words = [
        *("upgrade", "-f", "a.yaml", "--helm-values", "b.yaml", "--set-string", "x=1"),
        *("--set", "y=2", "--helm-set", "y=3", "--set-file", "z=f", "--helm-set-string", "x=4"),
        "--reset-then-reuse-values",
    ]
    given = build().parse_args(words)
    COMMANDS[given.command](given)
    assert arguments(called)[5:] == [
        *("--values", "a.yaml", "--values", "b.yaml", "--set-string", "x=1", "--set", "y=2"),
        *("--set", "y=3", "--set-file", "z=f", "--set-string", "x=4"),
        "--reset-then-reuse-values",
    ]


def test_uninstall_waits_for_the_hooks(called: Path) -> None:
    lifecycle.uninstall(lifecycle.Release(), "3m0s", dry_run=False)
    assert arguments(called)[:5] == ["uninstall", "cilium", "--wait", "--timeout", "3m0s"]
    with pytest.raises(CliError, match="--timeout"):
        lifecycle.uninstall(lifecycle.Release(), "soon", dry_run=False)


def test_uninstall_says_what_pods_need(called: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lifecycle.uninstall(lifecycle.Release(), "3m0s", dry_run=True)
    assert capsys.readouterr().out == "done\n"
    lifecycle.uninstall(lifecycle.Release(), "3m0s", dry_run=False)
    said = capsys.readouterr().out
    assert said.startswith("done\ncilium is gone from the cluster")
    assert "kubectl delete pods --all-namespaces --field-selector spec.hostNetwork=false" in said


def test_another_chart_version(called: Path) -> None:
    with pytest.raises(HelmError, match=r"--version: .*0\.1\.0 only"):
        lifecycle.install(lifecycle.Release(), lifecycle.Change(version="1.20.0"))
    assert not (called / "args").exists()


def test_helms_own_words(called: Path) -> None:
    (called / "fail").write_text("it broke")
    with pytest.raises(HelmError, match="^helm install cilium: it broke$"):
        lifecycle.install(lifecycle.Release(), lifecycle.Change())


def test_progress_of_what_takes_long(
    called: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(helm, "QUIET_SECONDS", 0.1)
    (called / "slow").touch()
    lifecycle.install(lifecycle.Release(), lifecycle.Change())
    assert capsys.readouterr().err == "helm install cilium: 0 s\n"


def test_no_helm_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(HelmError, match=r"pip install 'cilium-cli\[helm\]'"):
        helm.find_helm()


def test_chart_is_the_source_trees() -> None:
    assert helm.chart_path() == Path(__file__).resolve().parents[3] / "charts" / "cilium"
    assert helm.chart_version() == "0.1.0"


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (("enable",), ("true", "true", "false")),
        (("enable", "--no-relay", "--ui"), ("true", "false", "true")),
        (("disable",), ("false", "false", "false")),
    ],
)
def test_hubble_is_switched_and_other_values_stay(
    called: Path, words: tuple[str, ...], settings: tuple[str, str, str]
) -> None:
    given = build().parse_args(["hubble", *words])
    COMMANDS[given.command](given)
    hubble, relay, ui = settings
    assert arguments(called)[:2] == ["upgrade", "cilium"]
    assert arguments(called)[-7:] == [
        *("--set", f"hubble.enabled={hubble}", "--set", f"hubble.relay.enabled={relay}"),
        *("--set", f"hubble.ui.enabled={ui}", "--reuse-values"),
    ]
