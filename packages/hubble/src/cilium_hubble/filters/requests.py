# SPDX-License-Identifier: Apache-2.0
"""Fields of a FlowFilter about requests and responses. Pure.

Only rows of proxies are looked at, and of those only what is kept. Patterns are RE2's, which take
time in proportion to the text: no subscriber's pattern can hold up the flows of others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import re2

from cilium_core.errors import FieldError
from cilium_core.proto import flow_pb2
from cilium_core.proto.access_pb2 import Record
from cilium_hubble.filters.checks import Check
from cilium_hubble.flows.chunk import Chunk, Mask, Names
from cilium_hubble.flows.record import REQUEST, Application
from cilium_hubble.flows.requests import text_of

Test = Callable[[Record], bool]
Field = Callable[[Any, str, Names], Check]
_STATUS = re.compile(r"[1-5](\d\d|\d?\+)")


def is_request(chunk: Chunk, application: Application) -> Mask:
    """Return which rows are requests in an application's protocol."""
    rows = chunk.rows
    mask: Mask = (rows["type"] == REQUEST) & (rows["subtype"] == application)
    return mask


def _field(application: Application | None, test: Callable[[Any, str], Test]) -> Field:
    def field(values: Any, path: str, names: Names) -> Check:
        wanted = test(values, path)

        def check(chunk: Chunk) -> Mask:
            mask = chunk.rows["type"] == REQUEST
            if application is not None:
                mask &= chunk.rows["subtype"] == application
            for index in np.flatnonzero(mask).tolist():
                payload = names.payloads.get(int(chunk.rows["payload"][index]))
                mask[index] = payload is not None and wanted(text_of(payload))
            found: Mask = mask
            return found

        return check

    return field


def _statuses(values: Sequence[str], path: str) -> Test:
    for index, text in enumerate(values):
        if not _STATUS.fullmatch(text):
            raise FieldError(f"{path}[{index}]", f"{text!r} is not a status such as 404 or 5+")
    exact = {text for text in values if not text.endswith("+")}
    heads = tuple(text[:-1] for text in values if text.endswith("+"))

    def test(record: Record) -> bool:
        code = str(record.l7.http.code) if record.l7.http.code else ""
        return bool(code) and (code in exact or code.startswith(heads))

    return test


def _methods(values: Sequence[str], _path: str) -> Test:
    wanted = {text.upper() for text in values}
    return lambda record: record.l7.http.method.upper() in wanted


def _patterns(of: Callable[[Record], str]) -> Callable[[Sequence[str], str], Test]:
    def field(values: Sequence[str], path: str) -> Test:
        compiled = []
        for index, text in enumerate(values):
            try:
                compiled.append(re2.compile(text))
            except re2.error as error:
                raise FieldError(f"{path}[{index}]", f"{text!r} is no pattern: {error}") from error
        return lambda record: any(one.search(of(record)) for one in compiled)

    return field


def _headers(values: Sequence[flow_pb2.HTTPHeader], path: str) -> Test:
    for index, header in enumerate(values):
        if not header.key:
            raise FieldError(f"{path}[{index}].key", "is empty")
    wanted = {(header.key.lower(), header.value) for header in values}
    return lambda record: any(
        (header.key.lower(), header.value) in wanted for header in record.l7.http.headers
    )


def _traces(values: Sequence[str], _path: str) -> Test:
    wanted = set(values)
    return lambda record: record.trace_id in wanted


def _path_of(record: Record) -> str:
    try:
        return urlsplit(record.l7.http.url).path
    except ValueError:
        return ""


FIELDS: dict[str, Field] = {
    "http_status_code": _field(Application.HTTP, _statuses),
    "http_method": _field(Application.HTTP, _methods),
    "http_path": _field(Application.HTTP, _patterns(_path_of)),
    "http_url": _field(Application.HTTP, _patterns(lambda record: record.l7.http.url)),
    "http_header": _field(Application.HTTP, _headers),
    "dns_query": _field(Application.DNS, _patterns(lambda record: record.l7.dns.query)),
    "trace_id": _field(None, _traces),
}
