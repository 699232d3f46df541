# SPDX-License-Identifier: Apache-2.0
"""The emoji service: lists the catalogue and finds an entry by its shortcode. Stateless."""

import asyncio
import os
from typing import cast

import grpc
from google.protobuf.message import Message

from emojivoto import rpc, settings
from emojivoto.catalogue import BY_SHORTCODE, CATALOGUE
from emojivoto.v1 import emoji_pb2

DESCRIPTOR = emoji_pb2.DESCRIPTOR.services_by_name["EmojiService"]

_ALL = emoji_pb2.ListAllEmojiResponse(
    list=[emoji_pb2.Emoji(unicode=e.unicode, shortcode=e.shortcode) for e in CATALOGUE]
)


async def list_all(_request: Message, _context: rpc.Context) -> Message:
    """Every emoji, in the catalogue's order."""
    return _ALL


async def find_by_shortcode(request: Message, _context: rpc.Context) -> Message:
    """The emoji of a shortcode; an empty response when there is none."""
    shortcode = cast(emoji_pb2.FindByShortcodeRequest, request).shortcode
    response = emoji_pb2.FindByShortcodeResponse()
    if found := BY_SHORTCODE.get(shortcode):
        response.emoji.unicode = found.unicode
        response.emoji.shortcode = found.shortcode
    return response


def handler() -> grpc.GenericRpcHandler:
    """The service, ready to be added to a server."""
    return rpc.service(DESCRIPTOR, {"ListAll": list_all, "FindByShortcode": find_by_shortcode})


def main() -> None:
    """Serve on GRPC_PORT (8080), with metrics on PROM_PORT (8801)."""
    grpc_port = settings.port(os.environ, "GRPC_PORT", 8080)
    prom_port = settings.port(os.environ, "PROM_PORT", 8801)
    asyncio.run(rpc.serve(handler(), grpc_port, prom_port))
