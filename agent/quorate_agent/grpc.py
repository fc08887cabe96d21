"""One gRPC call to a socket of this node, with the messages of `quorate.kubelet`."""

import os
from pathlib import Path
from typing import Any, TypeVar

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from quorate.kubelet.wire import Message

FAILURES = (OSError, GRPCError, ProtocolError, StreamTerminatedError, ValueError)
"""What a call to a program that is absent, ends, or answers nonsense raises; TimeoutError is an OSError."""
_Answer = TypeVar("_Answer", bound=Message)


class Codec(CodecBase):
    """The messages' own encoding."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """The bytes of a message."""
        return bytes(message.encode())

    def decode(self, data: bytes, message_type: Any) -> Any:
        """A message of a type."""
        return message_type.decode(data)


async def call(path: Path, method: str, request: Message, answer: type[_Answer], seconds: float) -> _Answer:
    """One request and its answer.

    Raises:
        OSError: nobody listens there, or nothing came within `seconds`.
        GRPCError: it was refused.
        ValueError: the answer is no such message.
    """
    # A socket's name has at most 107 bytes; by its directory's descriptor any path can be reached.
    directory = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        channel = Channel(path=f"/proc/self/fd/{directory}/{path.name}", codec=Codec())
        try:
            ask: UnaryUnaryMethod[Message, _Answer] = UnaryUnaryMethod(channel, method, type(request), answer)
            return await ask(request, timeout=seconds)
        finally:
            channel.close()
    finally:
        os.close(directory)
