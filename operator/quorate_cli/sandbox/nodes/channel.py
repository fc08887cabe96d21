"""gRPC over Unix sockets, with the messages of `quorate.kubelet`."""

import contextlib
import os
import socket
from collections.abc import Iterator
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
        if not isinstance(message, message_type):
            raise TypeError(f"{type(message).__name__} is no {message_type.__name__}")
        return bytes(message.encode())

    def decode(self, data: bytes, message_type: Any) -> Any:
        """A message of a type."""
        return message_type.decode(data)


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A short name for a socket, whose own may be longer than the 107 bytes that the kernel takes (Linux)."""
    directory = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen(path: Path) -> socket.socket:
    """A socket that listens there, in the place of whatever was."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        with reachable(path) as name:
            listener.bind(name)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


async def call(path: Path, method: str, request: Message, answer: type[_Answer], seconds: float) -> _Answer:
    """One request and its answer.

    Raises:
        OSError: nobody listens there, or nothing came within `seconds`.
        GRPCError: it was refused.
        ValueError: the answer is no such message.
    """
    with reachable(path) as name:
        channel = Channel(path=name, codec=Codec())
        try:
            ask: UnaryUnaryMethod[Message, _Answer] = UnaryUnaryMethod(channel, method, type(request), answer)
            return await ask(request, timeout=seconds)
        finally:
            channel.close()
