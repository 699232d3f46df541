# SPDX-License-Identifier: Apache-2.0
"""A CNI call as it comes from the plugin: decoded, checked, each error naming its field. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from cilium_agent.cni.errors import CniError, Code
from cilium_agent.endpoints.attachment import Attachment

SUPPORTED = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEEDS_NETNS = {"ADD", "CHECK"}
NEEDS_CONTAINER = {"ADD", "DEL", "CHECK"}
MINIMUM_VERSION = {"CHECK": "0.4.0", "STATUS": "1.1.0", "GC": "1.1.0"}
_CONTAINER_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
_INTERFACE = re.compile(r"[^\s/:]{1,15}")


class Frame(msgspec.Struct, frozen=True):
    """What the plugin sends: its CNI_* variables and its standard input as text."""

    env: dict[str, str]
    stdin: str


class Route(msgspec.Struct, frozen=True):
    """A route of a previous result; only its destination is compared."""

    dst: str


class Ip(msgspec.Struct, frozen=True):
    """An address of a previous result, with its prefix length."""

    address: str


class PrevResult(msgspec.Struct, frozen=True):
    """The result that ADD gave, as the runtime hands it to CHECK and DEL."""

    ips: list[Ip] = []
    routes: list[Route] = []


class ValidAttachment(msgspec.Struct, frozen=True, rename={"container_id": "containerID"}):
    """An attachment that the runtime still knows (GC)."""

    container_id: str
    ifname: str


class NetConf(
    msgspec.Struct,
    frozen=True,
    rename={
        "cni_version": "cniVersion",
        "prev_result": "prevResult",
        "valid": "cni.dev/valid-attachments",
    },
):
    """The network configuration on standard input, as far as it is used here."""

    cni_version: str
    name: str = ""
    type: str = ""
    prev_result: PrevResult | None = None
    valid: list[ValidAttachment] | None = None


class Call(msgspec.Struct, frozen=True):
    """A checked call. `netns` is empty where the command does not need it."""

    command: str
    conf: NetConf
    container_id: str = ""
    interface: str = ""
    netns: str = ""
    arguments: dict[str, str] = {}

    def attachment(self) -> Attachment:
        """Return what ADD attaches. CniError names the CNI_ARGS word that is missing."""
        for word in ("K8S_POD_NAMESPACE", "K8S_POD_NAME"):
            if not self.arguments.get(word):
                raise CniError(
                    Code.INVALID_ENVIRONMENT, f"CNI_ARGS: {word} is missing; the agent serves pods"
                )
        return Attachment(
            container_id=self.container_id,
            interface=self.interface,
            netns=self.netns,
            pod_namespace=self.arguments["K8S_POD_NAMESPACE"],
            pod_name=self.arguments["K8S_POD_NAME"],
            pod_uid=self.arguments.get("K8S_POD_UID", ""),
        )


def decode_frame(raw: bytes) -> Frame:
    """Return the plugin's frame. CniError when it is not one."""
    try:
        return msgspec.json.decode(raw, type=Frame)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CniError(Code.DECODE_FAILURE, f"request of the plugin: {error}") from error


def parse(frame: Frame) -> Call:
    """Check a frame and return the call. CniError names the variable or the key at fault."""
    conf = _conf(frame.stdin)
    command = frame.env.get("CNI_COMMAND", "")
    if command not in {"ADD", "DEL", "CHECK", "STATUS", "GC"}:
        raise CniError(
            Code.INVALID_ENVIRONMENT,
            f"CNI_COMMAND: {command!r} is none of ADD, DEL, CHECK, STATUS, GC, VERSION",
        )
    minimum = MINIMUM_VERSION.get(command, SUPPORTED[0])
    if SUPPORTED.index(conf.cni_version) < SUPPORTED.index(minimum):
        raise CniError(
            Code.INCOMPATIBLE_VERSION,
            f"cniVersion: {command} needs {minimum}, the configuration says {conf.cni_version}",
        )
    if command not in NEEDS_CONTAINER:
        return Call(command, conf)
    netns = _variable(frame.env, "CNI_NETNS", re.compile(r".+")) if command in NEEDS_NETNS else ""
    return Call(
        command,
        conf,
        container_id=_variable(frame.env, "CNI_CONTAINERID", _CONTAINER_ID),
        interface=_interface(frame.env),
        netns=netns,
        arguments=_arguments(frame.env.get("CNI_ARGS", "")),
    )


def identify(env: Mapping[str, str]) -> tuple[str, str]:
    """Return container id and interface, all that removing an attachment needs."""
    return _variable(env, "CNI_CONTAINERID", _CONTAINER_ID), _interface(env)


def version_of(stdin: str) -> str:
    """Return the configuration's version for an error object, 1.0.0 when it names none of ours."""
    try:
        version = msgspec.json.decode(stdin, type=dict[str, Any]).get("cniVersion")
    except (msgspec.MsgspecError, UnicodeError):
        return "1.0.0"
    return version if version in SUPPORTED else "1.0.0"


def _conf(stdin: str) -> NetConf:
    try:
        conf = msgspec.json.decode(stdin, type=NetConf)
    except msgspec.ValidationError as error:
        raise CniError(Code.DECODE_FAILURE, f"stdin: {error}") from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise CniError(
            Code.DECODE_FAILURE, f"stdin: the network configuration is not JSON: {error}"
        ) from error
    if conf.cni_version not in SUPPORTED:
        raise CniError(
            Code.INCOMPATIBLE_VERSION,
            f"cniVersion: {conf.cni_version!r} is not supported; use one of {', '.join(SUPPORTED)}",
        )
    return conf


def _interface(env: Mapping[str, str]) -> str:
    name = _variable(env, "CNI_IFNAME", _INTERFACE)
    if name in (".", "..", "lo"):
        raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_IFNAME: {name!r} cannot be made")
    return name


def _variable(env: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str:
    value = env.get(name, "")
    if not value:
        raise CniError(Code.INVALID_ENVIRONMENT, f"{name}: is missing")
    if pattern.fullmatch(value) is None:
        raise CniError(Code.INVALID_ENVIRONMENT, f"{name}: {value!r} is not valid")
    return value


def _arguments(text: str) -> dict[str, str]:
    arguments = {}
    for word in filter(None, text.split(";")):
        key, separator, value = word.partition("=")
        if not separator:
            raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_ARGS: {word!r} is not KEY=VALUE")
        arguments[key] = value
    return arguments
