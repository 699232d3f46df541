# SPDX-License-Identifier: Apache-2.0
"""The unix socket that the CNI plugin talks to.

Wire form: the request is a big-endian u32 length and a JSON frame (`request.Frame`); the reply is
two big-endian u32, exit code and length, and the text for standard output. One connection is one
call. A plugin that goes away (the runtime gave up) cancels its call, which undoes it.
Order at start: `listen` (calls wait in the backlog), restore, `serve`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from pathlib import Path

import structlog

from cilium_agent.cni import request, result
from cilium_agent.cni.delete_queue import DeleteQueue
from cilium_agent.cni.errors import CniError, as_cni_error
from cilium_agent.cni.plugin import Plugin
from cilium_agent.endpoints.manager import EndpointManager

log = structlog.get_logger(__name__)
SOCKET_NAME = "cni.sock"
QUEUE_NAME = "deleteQueue"
LENGTH = struct.Struct(">I")
REPLY = struct.Struct(">II")
MAX_FRAME = 8 << 20  # 1 MiB of configuration, each byte escaped
BACKLOG = 256
READ_SECONDS = 10.0


class CniServer:
    """Serves `<run_dir>/cni.sock` and drains `<run_dir>/deleteQueue`."""

    def __init__(self, run_dir: Path, manager: EndpointManager) -> None:
        """Carry calls out on the manager."""
        self._path = run_dir / SOCKET_NAME
        self._queue = DeleteQueue(run_dir / QUEUE_NAME)
        self._manager = manager
        self._plugin = Plugin(manager)
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Lock the delete queue and bind the socket; plugins connect and wait from now on."""
        await asyncio.to_thread(self._queue.lock)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{SOCKET_NAME}")
        temporary.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(temporary))
        temporary.chmod(0o600)
        self._socket.listen(BACKLOG)
        self._socket.setblocking(False)
        temporary.replace(self._path)

    async def serve(self) -> None:
        """Drain the delete queue, then answer. The endpoints must be restored.

        Returns once calls are being answered. An entry whose removal fails stays queued.
        """
        if self._socket is None:
            raise RuntimeError("serve needs listen first")
        for path, container_id, interface in await asyncio.to_thread(self._queue.entries):
            try:
                await self._manager.delete(container_id, interface)
            except Exception as error:
                log.error("queued DEL failed", container=container_id, error=str(error))
            else:
                path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._connection, sock=self._socket)
        self._queue.unlock()
        log.info("CNI socket serves", socket=str(self._path))

    async def close(self) -> None:
        """Stop answering. The socket's file stays, so that plugins fail by refusal at once."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        elif self._socket is not None:
            self._socket.close()
        self._queue.unlock()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            raw = await asyncio.wait_for(_read_frame(reader), READ_SECONDS)
            work = asyncio.create_task(self.answer(raw))
            gone = asyncio.create_task(reader.read(1))
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                log.warning("plugin went away, its call is undone")
                work.cancel()
                await asyncio.wait({work})
                return
            gone.cancel()
            code, text = work.result()
            writer.write(REPLY.pack(code, len(text)) + text)
            await writer.drain()
        except (TimeoutError, EOFError, ConnectionError) as error:
            log.warning("broken CNI connection", error=str(error) or type(error).__name__)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def answer(self, raw: bytes) -> tuple[int, bytes]:
        """Carry out one frame; returns the plugin's exit code and standard output."""
        version = "1.0.0"
        try:
            frame = request.decode_frame(raw)
            version = request.version_of(frame.stdin)
            body = await self._plugin.call(request.parse(frame))
        except Exception as error:
            cni_error = as_cni_error(error)
            if not isinstance(error, CniError):
                log.warning("CNI call failed", error=str(error), code=int(cni_error.code))
            return 1, result.encode(result.error_result(cni_error, version))
        return 0, result.encode(body)


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if length > MAX_FRAME:
        raise EOFError(f"frame of {length} bytes, limit {MAX_FRAME}")
    return await reader.readexactly(length)
