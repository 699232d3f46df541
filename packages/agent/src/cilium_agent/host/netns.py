# SPDX-License-Identifier: Apache-2.0
"""Runs netlink work off the event loop: on the node, or inside a pod's network namespace.

A pod's namespace is entered by a thread that was made for this one call and ends with it, so no
thread that serves anything else can ever be left in a wrong namespace. pyroute2 opens its socket
in the thread that uses it: the whole function runs there. A cancelled caller still waits for
work that has begun, so that undoing it never races with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pyroute2 import IPRoute, NetlinkError

from cilium_agent.host.errors import LinkError, NetnsError

CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703
SO_NETNS_COOKIE = 71
NODE_THREADS = 4
T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)
_node_threads = ThreadPoolExecutor(NODE_THREADS, thread_name_prefix="netlink")


async def on_node(what: str, function: Callable[[IPRoute], T]) -> T:
    """Run `function` with a socket of the agent's own namespace. LinkError says `what` failed."""
    return await _finished(_node_threads.submit(_with_socket, what, function))


async def in_netns(path: str, what: str, function: Callable[[IPRoute], T]) -> T:
    """Run `function` with a socket of the namespace at `path`, /proc/sys/net being that one's too.

    NetnsError when the path is no namespace; LinkError says `what` failed in it.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            enter(path)
            future.set_result(_with_socket(what, function))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=work, name=f"netns {path}", daemon=True).start()
    return await _finished(future)


def enter(path: str) -> None:
    """Move the calling thread into the namespace at `path`, for good."""
    fd = open_netns(path)
    try:
        if _libc.setns(fd, CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise NetnsError(f"{path}: cannot enter this network namespace: {reason}")
    finally:
        os.close(fd)


def open_netns(path: str) -> int:
    """Return a descriptor of a network namespace's file, to be closed by the caller."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NetnsError(f"{path}: cannot open this network namespace: {error.strerror}") from error
    try:
        kind = fcntl.ioctl(fd, NS_GET_NSTYPE)
    except OSError:
        kind = 0
    if kind != CLONE_NEWNET:
        os.close(fd)
        raise NetnsError(f"{path}: is not a network namespace")
    return fd


def is_own_netns(path: str) -> bool:
    """Tell whether the path is the agent's own (the node's) namespace."""
    try:
        one, other = os.stat(path), os.stat("/proc/thread-self/ns/net")
    except OSError as error:
        raise NetnsError(f"{path}: {error.strerror}") from error
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def node_netns_cookie() -> int:
    """Return the kernel's cookie of the network namespace the agent runs in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        raw = probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
    return int.from_bytes(raw, "little")


def _with_socket(what: str, function: Callable[[IPRoute], T]) -> T:
    try:
        with IPRoute() as route:
            return function(route)
    except NetlinkError as error:
        raise LinkError(f"{what}: {os.strerror(error.code)}") from error


async def _finished(future: Future[T]) -> T:
    wrapped = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(wrapped)
    except asyncio.CancelledError:
        await asyncio.wait([wrapped])
        raise
