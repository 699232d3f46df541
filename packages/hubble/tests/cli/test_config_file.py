# SPDX-License-Identifier: Apache-2.0
"""Settings of the command: which of flag, variable, file and default holds, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cilium_hubble.cli.completion import script
from cilium_hubble.cli.main import _parser, main


@pytest.fixture
def hubble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def run(*words: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hubble" / "config.yaml"


def test_set_get_and_reset(hubble: Any, file: Path) -> None:
    assert hubble("config", "get", "server") == (0, "\n", "")
    assert hubble("config", "set", "server", "a:1") == (0, "", "")
    assert hubble("config", "set", "tls", "true")[0] == 0
    assert hubble("config", "set", "tls-ca-cert-files", "[x,y]")[0] == 0
    assert yaml.safe_load(file.read_text()) == {
        "server": "a:1",
        "tls": True,
        "tls-ca-cert-files": ["x", "y"],
    }
    assert hubble("config", "get", "tls") == (0, "true\n", "")
    assert hubble("config", "get", "tls-ca-cert-files") == (0, "x,y\n", "")
    assert hubble("config", "reset", "tls")[0] == 0
    assert hubble("config", "get", "tls") == (0, "false\n", "")
    assert hubble("config", "set", "server")[0] == 0
    assert yaml.safe_load(file.read_text())["server"] == ""
    assert hubble("config", "reset")[0] == 0
    assert file.read_text() == ""


def test_flag_before_variable_before_file(
    hubble: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hubble("config", "set", "server", "of-file:1")
    assert hubble("config", "get", "server")[1] == "of-file:1\n"
    assert "'of-file:1'" in hubble("status", "--request-timeout", "50ms")[2]
    monkeypatch.setenv("HUBBLE_SERVER", "of-variable:1")
    assert hubble("config", "get", "server")[1] == "of-variable:1\n"
    assert hubble("config", "get", "server", "--server", "of-flag:1")[1] == "of-flag:1\n"
    shown = yaml.safe_load(hubble("config", "view")[1])
    assert (shown["server"], shown["request-timeout"]) == ("of-variable:1", "12s")
    assert yaml.safe_load(file.read_text()) == {"server": "of-file:1"}


@pytest.mark.parametrize("text", ["0s", "banana"])
def test_a_timeout_that_is_none(hubble: Any, text: str) -> None:
    code, _, err = hubble("status", "--request-timeout", text)
    assert code == 1
    assert f"--request-timeout: request-timeout: '{text}' is not a duration" in err


def test_another_file(hubble: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.yaml"
    hubble("config", "set", "server", "b:2", "--config", str(other))
    assert hubble("config", "get", "server")[1] == "\n"
    monkeypatch.setenv("HUBBLE_CONFIG", str(other))
    assert hubble("config", "get", "server")[1] == "b:2\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("set", "shoe", "1"), "unknown key: shoe"),
        (("get", "shoe"), "unknown key: shoe"),
        (("reset", "shoe"), "unknown key: shoe"),
        (("set", "tls", "maybe"), "tls: 'maybe' is neither true nor false"),
        (("set", "request-timeout", "soon"), "request-timeout: 'soon' is not a duration"),
    ],
)
def test_what_is_refused(hubble: Any, file: Path, words: tuple[str, ...], said: str) -> None:
    code, out, err = hubble("config", *words)
    assert (code, out) == (1, "")
    assert said in err
    assert not file.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shoe: 1", "unknown key: shoe"),
        ("tls: [", "config.yaml: "),
        ("- a", "is not a list of keys"),
        ("server: 3", "server: 3 is not a text"),
        ("tls-ca-cert-files: 3", "is not a list of texts"),
    ],
)
def test_a_file_that_is_wrong_is_named(hubble: Any, file: Path, text: str, said: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    for words in (("config", "view"), ("status",)):
        code, _, err = hubble(*words)
        assert code == 1
        assert str(file) in err
        assert said in err


def test_completion(hubble: Any, tmp_path: Path) -> None:
    made = hubble("completion", "bash")[1]
    path = tmp_path / "hubble.bash"
    path.write_text(made)
    ask = (
        f"source {path}; COMP_WORDS=(hubble observe --verd); COMP_CWORD=2; _hubble; "
        'echo "${COMPREPLY[@]}"; COMP_WORDS=(hubble config ""); COMP_CWORD=2; _hubble; '
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "--verdict"
    assert second.split()[:4] == ["view", "get", "set", "reset"]
    assert "bashcompinit" in script(_parser(), "zsh")
    assert "complete -c hubble -n '__fish_seen_subcommand_from observe' -l verdict\n" in script(
        _parser(), "fish"
    )
