# SPDX-License-Identifier: Apache-2.0
"""Kubeconfig files as kubectl reads them."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cilium_cli.errors import KubeconfigError
from cilium_cli.kube.kubeconfig import load


def write(path: Path, name: str = "a", user: Any = None, **cluster: Any) -> Path:
    content = {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443", **cluster}}],
        "users": [{"name": name, "user": user or {}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_certificates_inline_and_as_files(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CA")
    user = {"client-certificate-data": encoded("CERT"), "client-key-data": encoded("KEY")}
    access = load(
        str(write(tmp_path / "c", user=user, **{"certificate-authority": "ca.pem"})), None, {}
    )
    assert (access.server, access.ca) == ("https://a:6443", b"CA")
    assert (access.credentials.certificate, access.credentials.key) == (b"CERT", b"KEY")


def test_token_and_token_file(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("from-file\n")
    assert load(str(write(tmp_path / "c", user={"token": "x"})), None, {}).credentials.token == "x"
    found = load(str(write(tmp_path / "d", user={"tokenFile": "t"})), None, {})
    assert found.credentials.token == "from-file"


def test_first_file_of_the_environment_wins(tmp_path: Path) -> None:
    one = write(tmp_path / "one", "a")
    two = write(tmp_path / "two", "b")
    env = {"KUBECONFIG": f"{one}:{two}:{tmp_path / 'missing'}"}
    assert load(None, None, env).server == "https://a:6443"
    assert load(None, "b", env).server == "https://b:6443"


def test_home_is_the_last_resort(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config")
    assert load(None, None, {"HOME": str(tmp_path)}).server == "https://a:6443"


def plugin(tmp_path: Path, code: str) -> dict[str, Any]:
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": ["-c", code],
            "env": [{"name": "EXTRA", "value": "1"}],
            "provideClusterInfo": True,
        }
    }


def test_exec_plugin(tmp_path: Path) -> None:
    code = (
        "import json,os;info=json.loads(os.environ['KUBERNETES_EXEC_INFO']);"
        "print(json.dumps({'status':{'token':os.environ['EXTRA']+info['spec']['cluster']"
        "['server']}}))"
    )
    access = load(str(write(tmp_path / "c", user=plugin(tmp_path, code))), None, {})
    assert access.credentials.token == "1https://a:6443"


@pytest.mark.parametrize(
    ("code", "said"),
    [("print('x')", "ExecCredential"), ("import sys;sys.exit('log in first')", "log in first")],
)
def test_exec_plugin_that_fails(tmp_path: Path, code: str, said: str) -> None:
    with pytest.raises(KubeconfigError, match=said):
        load(str(write(tmp_path / "c", user=plugin(tmp_path, code))), None, {})


def test_exec_plugin_that_is_missing_gives_its_hint(tmp_path: Path) -> None:
    user = {"exec": {"command": "no-such-plugin", "installHint": "install it so"}}
    with pytest.raises(KubeconfigError, match=r"no-such-plugin.*install it so"):
        load(str(write(tmp_path / "c", user=user)), None, {})


@pytest.mark.parametrize(
    ("change", "context", "said"),
    [
        ({"current-context": ""}, None, "current-context"),
        ({}, "nope", "context 'nope'"),
        ({"clusters": []}, None, "cluster 'a'"),
        ({"users": []}, None, "user 'a'"),
    ],
)
def test_missing_parts_are_named(
    tmp_path: Path, change: dict[str, Any], context: str | None, said: str
) -> None:
    path = write(tmp_path / "c")
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(KubeconfigError, match=said):
        load(str(path), context, {})


def test_bad_base64_names_the_field(tmp_path: Path) -> None:
    path = write(tmp_path / "c", user={"client-key-data": "%%%"})
    with pytest.raises(KubeconfigError, match="client-key-data"):
        load(str(path), None, {})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="no such"):
        load(str(tmp_path / "x"), None, {})


def test_service_account_of_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_text("CA")
    monkeypatch.setattr("cilium_cli.kube.kubeconfig.SERVICE_ACCOUNT", tmp_path)
    env = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    access = load(None, None, {**env, "HOME": str(tmp_path)})
    assert (access.server, access.credentials.token) == ("https://[fd00::1]:443", "t")


def test_json_is_yaml(tmp_path: Path) -> None:
    path = write(tmp_path / "c")
    path.write_text(json.dumps(yaml.safe_load(path.read_text())))
    assert load(str(path), None, {}).server == "https://a:6443"
