# SPDX-License-Identifier: Apache-2.0
"""Requests that are wrong, each answered with the code and the field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_agent.cni.errors import CniError, as_cni_error
from cilium_agent.cni.request import Frame, decode_frame, parse, version_of
from cilium_agent.endpoints.attachment import host_interface, is_host_interface
from cilium_agent.errors import ApiError, PodGone, PoolExhausted

ENV = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "abc123",
    "CNI_IFNAME": "eth0",
    "CNI_NETNS": "/var/run/netns/x",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1",
}
CONF = {"cniVersion": "1.0.0", "name": "cilium", "type": "cilium-cni"}


def frame(conf: object = CONF, **env: str | None) -> Frame:
    merged = {k: v for k, v in {**ENV, **env}.items() if v is not None}
    return Frame(merged, conf if isinstance(conf, str) else json.dumps(conf))


def test_a_good_request() -> None:
    attachment = parse(frame()).attachment()
    assert (attachment.pod_namespace, attachment.pod_name, attachment.pod_uid) == (
        "default",
        "web",
        "u1",
    )
    assert attachment.container_id == "abc123"
    assert attachment.netns == "/var/run/netns/x"


@pytest.mark.parametrize(
    ("bad", "code", "words"),
    [
        (frame("not json"), 6, "stdin"),
        (frame(""), 6, "stdin"),
        (frame("[]"), 6, "stdin"),
        (frame({"name": "x"}), 6, "cniVersion"),
        (frame({**CONF, "cniVersion": 1}), 6, "cniVersion"),
        (frame({**CONF, "cniVersion": "0.2.0"}), 1, "cniVersion"),
        (frame({**CONF, "prevResult": {"ips": [{}]}}), 6, "prevResult.ips[0]"),
        (frame(CNI_COMMAND="DANCE"), 4, "CNI_COMMAND"),
        (frame(CNI_COMMAND=None), 4, "CNI_COMMAND"),
        (frame(CNI_CONTAINERID=None), 4, "CNI_CONTAINERID"),
        (frame(CNI_CONTAINERID="../x"), 4, "CNI_CONTAINERID"),
        (frame(CNI_IFNAME=None), 4, "CNI_IFNAME"),
        (frame(CNI_IFNAME="a/b"), 4, "CNI_IFNAME"),
        (frame(CNI_IFNAME="sixteen-letters-"), 4, "CNI_IFNAME"),
        (frame(CNI_IFNAME="lo"), 4, "CNI_IFNAME"),
        (frame(CNI_NETNS=None), 4, "CNI_NETNS"),
        (frame(CNI_ARGS="K8S_POD_NAME"), 4, "CNI_ARGS"),
        (frame({**CONF, "cniVersion": "0.3.1"}, CNI_COMMAND="CHECK"), 1, "cniVersion"),
        (frame(CNI_COMMAND="STATUS"), 1, "1.1.0"),
    ],
)
def test_bad_requests_name_the_field(bad: Frame, code: int, words: str) -> None:
    with pytest.raises(CniError) as caught:
        parse(bad)
    assert caught.value.code == code
    assert words in caught.value.message


@pytest.mark.parametrize("missing", ["K8S_POD_NAMESPACE", "K8S_POD_NAME"])
def test_a_call_for_no_pod_is_refused(missing: str) -> None:
    arguments = ";".join(w for w in ENV["CNI_ARGS"].split(";") if not w.startswith(missing + "="))
    with pytest.raises(CniError, match=missing):
        parse(frame(CNI_ARGS=arguments)).attachment()


def test_del_needs_no_namespace() -> None:
    assert parse(frame(CNI_COMMAND="DEL", CNI_NETNS="")).netns == ""


@given(st.binary(max_size=200))
def test_any_bytes_are_a_cni_error(raw: bytes) -> None:
    with pytest.raises(CniError) as caught:  # 200 random bytes are never a frame
        decode_frame(raw)
    assert caught.value.code == 6


@given(st.text(max_size=200))
def test_any_text_on_stdin_is_a_cni_error(text: str) -> None:
    assert version_of(text) in ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
    with pytest.raises(CniError):
        parse(frame(text))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PodGone("x"), 3),
        (PoolExhausted("x"), 11),
        (ApiError(500, "InternalError", "x"), 11),
        (OSError(5, "x"), 5),
        (RuntimeError("x"), 999),
    ],
)
def test_errors_have_codes(error: Exception, code: int) -> None:
    assert as_cni_error(error).code == code


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=15))
def test_host_interfaces_fit_the_kernel(container: str, interface: str) -> None:
    name = host_interface(container, interface)
    assert len(name) == 15
    assert is_host_interface(name)
    assert name == host_interface(container, interface)


@pytest.mark.parametrize("name", ["lxc_health", "lxcbr0", "eth0", "lxc0123456789aG", "lxc"])
def test_other_devices_are_not_ours(name: str) -> None:
    assert not is_host_interface(name)
