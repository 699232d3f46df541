# SPDX-License-Identifier: Apache-2.0
"""The three kinds of gRPC streams against the test's server: TARGET. Prints JSON."""

from __future__ import annotations

import json
import queue
import sys
import time

import grpc

channel = grpc.insecure_channel(sys.argv[1])


def server() -> list[float]:
    """Return when each message came, in seconds after the one before."""
    times, last = [], time.monotonic()
    for _ in channel.unary_stream("/test.Echo/Count")(b"10"):
        times.append(time.monotonic() - last)
        last = time.monotonic()
    return times


def client() -> tuple[str, dict[str, str]]:
    """Return what the server made of a thousand messages, and its trailers."""
    words = (b"%03d" % n for n in range(1000))
    answer, call = channel.stream_unary("/test.Echo/Together").with_call(words)
    return answer.decode(), dict(call.trailing_metadata())


def both() -> list[float]:
    """Return how long each of twenty messages took there and back, each sent after the last."""
    waiting: queue.Queue[bytes | None] = queue.Queue()
    answers = channel.stream_stream("/test.Echo/Stream")(iter(waiting.get, None))
    times = []
    for n in range(20):
        begun = time.monotonic()
        waiting.put(b"%d" % n)
        assert next(answers) == b"%d" % n
        times.append(time.monotonic() - begun)
    waiting.put(None)
    return times


text, trailers = client()
print(json.dumps({"server": server(), "client": len(text), "trailers": trailers, "both": both()}))
