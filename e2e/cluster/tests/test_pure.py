# SPDX-License-Identifier: Apache-2.0
"""Pure parts of the cluster: addresses, keys, tables, flags, comparison."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from e2e.cluster import (
    binaries,
    cgroups,
    content,
    control_plane,
    images,
    kind,
    node_config,
    snapshot,
    spec,
)
from e2e.cluster.__main__ import main, parser
from e2e.cluster.errors import ClusterError
from e2e.cluster.shell import Progress

HYBRID = """\
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,xattr,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""


def test_nodes_have_the_addresses_that_the_design_gives() -> None:
    names = [(host.name, host.ipv4, host.ipv6) for host in spec.nodes(3)]
    assert names == [
        ("node1", "172.30.0.11", "fd00:30::11"),
        ("node2", "172.30.0.12", "fd00:30::12"),
        ("node3", "172.30.0.13", "fd00:30::13"),
    ]


def test_no_two_hosts_share_an_address() -> None:
    hosts = [spec.SWITCH, spec.CONTROL_PLANE, spec.OUTSIDE, *spec.nodes(spec.MAX_NODES)]
    assert len({ipaddress.ip_address(h.ipv4) for h in hosts}) == len(hosts)
    assert len({ipaddress.ip_address(h.ipv6) for h in hosts}) == len(hosts)


@pytest.mark.parametrize("count", [0, -1, spec.MAX_NODES + 1])
def test_a_wrong_number_of_nodes_is_named(count: int) -> None:
    with pytest.raises(ClusterError, match=f"--nodes {count}"):
        spec.nodes(count)


def test_hierarchies_of_a_hybrid_host() -> None:
    assert cgroups.hierarchies(HYBRID) == [
        ("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct"),
        ("/sys/fs/cgroup/systemd", "cgroup", "none,name=systemd"),
        ("/sys/fs/cgroup/unified", "cgroup2", ""),
    ]


def test_hierarchies_of_a_pure_v2_host() -> None:
    mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0\n"
    assert cgroups.hierarchies(mounts) == [("/sys/fs/cgroup", "cgroup2", "")]


def test_content_key_follows_content_name_mode_and_words(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    first = content.key_of(tmp_path, [file])
    assert first == content.key_of(tmp_path, [file])
    assert first != content.key_of(tmp_path, [file], ["word"])
    file.chmod(0o755)
    executable = content.key_of(tmp_path, [file])
    file.write_text("two")
    changed = content.key_of(tmp_path, [file])
    renamed = file.rename(tmp_path / "b")
    assert len({first, executable, changed, content.key_of(tmp_path, [renamed])}) == 4


def test_content_ignores_caches_tests_and_what_is_not_there(tmp_path: Path) -> None:
    for name in ("src/x.py", "src/__pycache__/x.pyc", "tests/test_x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = content.files_below(tmp_path, [".", "gone"])
    assert [file.relative_to(tmp_path).as_posix() for file in found] == ["src/x.py"]


def test_every_image_has_a_local_name_and_its_dockerfile_is_an_input_of_a_kept_file() -> None:
    names = [image.name for image in images.IMAGES]
    assert len(set(names)) == len(names)
    assert all(name.startswith("localhost/cilium-python/") for name in names)
    assert images.select(["pause", "agent"]) == [images.IMAGES[0], images.IMAGES[2]]


def test_every_image_of_the_chart_is_built() -> None:
    values = yaml.safe_load((spec.REPOSITORY / "charts/cilium/values.yaml").read_text())
    found = [values["image"], values["operator"]["image"], values["envoy"]["image"]]
    named = {f"{image['repository']}:{image['tag']}" for image in found}
    assert len(named) == 3
    assert named <= {image.name for image in images.IMAGES}


def test_loaded_images_are_remembered_by_key(tmp_path: Path) -> None:
    loaded = images.Loaded(tmp_path / "images.json")
    one, other = (images.Archive("image", key, tmp_path) for key in ("1", "2"))
    assert loaded.missing([one]) == [one]
    loaded.add(one)
    assert loaded.missing([one]) == []
    assert loaded.missing([other]) == [other]


def test_the_control_plane_leaves_cidrs_and_services_to_the_system_under_test() -> None:
    flags = control_plane.arguments(Path("/state"))
    assert not any("cluster-cidr" in f or "allocate" in f for f in flags["kube-controller-manager"])
    assert "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112" in flags["kube-apiserver"]
    assert "kube-proxy" not in flags


def test_a_kubelet_registers_with_the_taint() -> None:
    config = json.loads(node_config.kubelet(Path("/pki"), Path("/node"), "node1"))
    assert config["registerWithTaints"] == [
        {"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoSchedule"}
    ]
    assert config["clusterDNS"] == ["10.96.0.10"]


def test_the_dns_manifest_uses_the_cluster_address_and_a_known_image() -> None:
    path = spec.REPOSITORY / "e2e/cluster/coredns.yaml"
    objects = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(path.read_text())}
    assert objects["Service", "kube-dns"]["spec"]["clusterIP"] == spec.CLUSTER_DNS
    pod = objects["Deployment", "coredns"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] in {image.name for image in images.IMAGES}


def test_kind_has_no_proxy_no_cni_and_the_taint_on_workers() -> None:
    config = json.loads(kind.configuration(3))
    assert config["networking"]["kubeProxyMode"] == "none"
    assert config["networking"]["disableDefaultCNI"] is True
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]
    patches = [json.loads(node["kubeadmConfigPatches"][0]) for node in config["nodes"]]
    assert [patch["kind"][:4] for patch in patches] == ["Init", "Join", "Join"]
    names = [patch["nodeRegistration"]["name"] for patch in patches]
    assert names == ["node1", "node2", "node3"]
    for patch in patches:
        assert [taint["key"] for taint in patch["nodeRegistration"]["taints"]] == [spec.AGENT_TAINT]
    assert [kind.container_of(name) for name in names] == [
        *("cilium-python-control-plane", "cilium-python-worker", "cilium-python-worker2"),
    ]


DOCKER = """#!/bin/sh
echo "$@" >>"$(dirname "$0")/calls"
case "$*" in
  "images -q localhost/cilium-python/probe:0.1.0") test -f "$(dirname "$0")/built" && echo 1234 ;;
  "build "*probe*) touch "$(dirname "$0")/built" ;;
  "inspect --format {{.State.Pid}} cilium-python-worker") echo 4711 ;;
  *".IPAddress}} cpy-outside") echo 172.18.0.9 ;;
  *".GlobalIPv6Address}} cpy-outside") echo fc00:f853::9 ;;
  "get nodes"*) printf '%s\\n' cilium-python-control-plane cilium-python-worker ;;
esac
exit 0
"""


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stand-ins for docker and kind that write down what is asked of them."""
    for name in ("docker", "kind"):
        (tmp_path / name).write_text(DOCKER)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "calls"


def test_the_outside_host_of_kind_comes_after_its_image(docker: Path, tmp_path: Path) -> None:
    provider = kind.Kind(tmp_path / "state")
    provider.load_images(Progress(), ["probe"])
    calls = docker.read_text().splitlines()
    (build,) = [n for n, call in enumerate(calls) if call.startswith("build ")]
    (start,) = [n for n, call in enumerate(calls) if call.startswith("run -d ")]
    assert build < start
    assert kind.PROBE_IMAGE in calls[start]


def test_addresses_and_places_of_kind_are_dockers(docker: Path, tmp_path: Path) -> None:
    provider = kind.Kind(tmp_path / "state")
    assert provider.node_names() == ["node1", "node2"]
    assert provider.outside_addresses() == ("172.18.0.9", "fc00:f853::9")
    assert provider.node_netns("node2") == Path("/proc/4711/ns/net")
    assert "--network=container:cilium-python-worker" in provider.node_probe("node2", ["serve"])
    assert provider.outside_probe(["serve"])[-3:] == ["cpy-outside", "probe", "serve"]


def test_difference_names_what_came_and_went_and_counts() -> None:
    before = {"links": ["lo", "eth0"], "mounts": ["/ ext4"]}
    after = {"links": ["lo", "cilium_host"], "mounts": ["/ ext4", "/ ext4"]}
    assert snapshot.difference(before, after) == [
        "links: left behind: cilium_host",
        "links: gone: eth0",
        "mounts: left behind: / ext4",
    ]
    assert snapshot.difference(before, before) == []


def test_mounts_with_optional_fields() -> None:
    line = "36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue"
    assert snapshot.mounts(line) == ["/mnt2 ext3 /dev/root"]


def test_a_missing_tool_of_kind_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="docker is not on PATH"):
        kind.Kind(tmp_path).load_images(None, [])  # type: ignore[arg-type]


def test_the_command_line_has_every_command() -> None:
    text = parser().format_help()
    for command in (
        *("up", "down", "status", "build-images", "load-images", "programs", "reboot", "doctor"),
    ):
        assert command in text


def test_programs_are_built_once_and_not_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built: list[str] = []

    def program(name: str) -> Path:
        built.append(name)
        return tmp_path / name

    monkeypatch.setattr(binaries, "hyperkube", lambda progress: program("hyperkube"))
    monkeypatch.setattr(binaries, "coredns", lambda progress: program("coredns"))
    monkeypatch.setattr(binaries, "pause", lambda: program("pause"))
    assert main(["programs"]) == 0
    assert built == ["hyperkube", "coredns", "pause"]
    assert "hyperkube is there" in capsys.readouterr().out


def test_the_tests_of_a_machine_without_programs_build_them_first() -> None:
    """The operator's tests want a real API server: without one they would be skipped."""
    script = (spec.REPOSITORY / "tools/test.sh").read_text()
    assert script.index("e2e.cluster programs") < script.index('"root and not cluster"')


def test_init_scripts_are_valid_shell() -> None:
    for name in ("node-init.sh", "control-plane-init.sh"):
        subprocess.run(["bash", "-n", spec.REPOSITORY / "e2e/cluster" / name], check=True)
