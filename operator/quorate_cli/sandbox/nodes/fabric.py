"""The nodes' network: a namespace with a bridge, and the ways between it and the API server (docs/real-nodes.md).

A component of the sandbox. It answers on the bridge's address and on the Service `kubernetes` for the API server on the
host's 127.0.0.1; on its Unix socket it takes these requests:

| first line | effect |
|---|---|
| `CONNECT host:port HTTP/1.1` | a connection into the nodes' network, for the API server (its egress selector); to any other host, from the machine itself |
| `PLUG {"name", "pid", "address", "pods"}` | connect the network namespace of process `pid`; answers `ok` or a sentence. The connection's end tells the node that the fabric is gone |
| `CUT name`, `MEND name` | take a node's link down, or up again; the same answers |
"""  # noqa: E501 - a table

import asyncio
import contextlib
import ipaddress
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quorate_cli.sandbox.nodes import kernel

BRIDGE = "nodes"
_MAC = "02:00:00:00:00:01"
"""Of the bridge: it would otherwise take the lowest of its ports', and change with them."""
_REQUEST_SECONDS = 10
_IP_SECONDS = 10
_CONNECT_SECONDS = 10
_LINGER_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Config:
    """What the fabric is told, in its configuration file."""

    socket: str
    """Path of its Unix socket."""
    network: str
    gateway: str
    service: str
    """Address of the Service `kubernetes`."""
    port: int
    """Port of the API server, on the host's 127.0.0.1 and on the bridge."""


def ip(commands: list[str], namespace: str = "") -> None:
    """Run commands of `ip` at once, in this network namespace or the one at a path.

    Raises:
        OSError: one was refused.
    """
    args = [*(["nsenter", f"--net={namespace}"] if namespace else []), "ip", "-batch", "-"]
    text = "\n".join(commands) + "\n"
    done = subprocess.run(args, input=text, capture_output=True, text=True, timeout=_IP_SECONDS, check=False)
    if done.returncode != 0:
        raise OSError(f"ip: {' '.join(done.stderr.split())[:300]}")


class Fabric:
    """The bridge and the forwarding."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._range = ipaddress.IPv4Network(config.network)
        self._host = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        kernel.unshare(kernel.CLONE_NEWNET)
        self._own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def build(self) -> None:
        """Make the bridge, in a namespace that has nothing yet."""
        config = self._config
        Path(config.socket).unlink(missing_ok=True)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        # Pods of two nodes pass through here although the nodes are on one bridge; nobody needs to be told.
        Path("/proc/sys/net/ipv4/conf/all/send_redirects").write_text("0")
        Path("/proc/sys/net/ipv4/conf/default/send_redirects").write_text("0")
        ip(
            [
                "link set lo up",
                f"link add {BRIDGE} address {_MAC} type bridge",
                f"addr add {config.gateway}/24 dev {BRIDGE}",
                f"addr add {config.service}/32 dev {BRIDGE}",
                f"link set {BRIDGE} up",
            ]
        )

    async def serve(self) -> None:
        """Answer until killed."""
        async with contextlib.AsyncExitStack() as stack:
            for address, port in ((self._config.gateway, self._config.port), (self._config.service, 443)):
                server = await asyncio.start_server(self._to_apiserver, address, port, backlog=512)
                await stack.enter_async_context(server)
            requests = await asyncio.start_unix_server(self._request, self._config.socket, backlog=512)
            await requests.serve_forever()

    async def _to_apiserver(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with _closing(writer), contextlib.suppress(OSError):
            await self._join(reader, writer, "127.0.0.1", self._config.port)

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with _closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            line = (await asyncio.wait_for(reader.readuntil(b"\n"), _REQUEST_SECONDS)).decode()
            verb, _, rest = line.strip().partition(" ")
            if verb == "PLUG":
                writer.write(f"{self._plug(json.loads(rest))}\n".encode())
                await reader.read()
            elif verb in ("CUT", "MEND"):
                writer.write(f"{_link(rest, 'down' if verb == 'CUT' else 'up')}\n".encode())
            elif verb == "CONNECT":
                while (await reader.readuntil(b"\n")).strip():
                    pass
                await self._connect(reader, writer, rest.split()[0])

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> None:
        host, _, port = target.rpartition(":")
        try:
            await self._join(
                reader, writer, host.strip("[]"), int(port), b"HTTP/1.1 200 Connection established\r\n\r\n"
            )
        except OSError as error:
            writer.write(f"HTTP/1.1 502 Bad Gateway\r\n\r\n{target}: {error.strerror or error}\n".encode())

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, greeting: bytes = b""
    ) -> None:
        """Connect to host:port, send the greeting back, and carry bytes both ways until both ends have closed."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with self._place(host):
            other = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        other.setblocking(False)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(other, (host, port))
        except BaseException:
            other.close()
            raise
        there, back = await asyncio.open_connection(sock=other)
        with _closing(back):
            writer.write(greeting)
            ways = {asyncio.ensure_future(_pump(reader, back)), asyncio.ensure_future(_pump(there, writer))}
            _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            # A node that stands still never closes its end; nobody waits for it for ever.
            await asyncio.wait(left or ways, timeout=_LINGER_SECONDS)
            for way in left:
                way.cancel()

    @contextlib.contextmanager
    def _place(self, host: str) -> Iterator[None]:
        """The network namespace from which a host is reached."""
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host) in self._range:
                yield
                return
        with kernel.network_of(self._host, self._own):
            yield

    def _plug(self, node: dict[str, Any]) -> str:
        name, inside = str(node["name"]), f"/proc/{int(node['pid'])}/ns/net"
        try:
            with contextlib.suppress(OSError):
                ip([f"link del {name}"])
            ip(
                [
                    f"link add {name} type veth peer name eth0 netns {int(node['pid'])}",
                    f"link set {name} master {BRIDGE} up",
                ]
            )
            ip(
                [
                    "link set lo up",
                    f"addr add {node['address']}/24 dev eth0",
                    "link set eth0 up",
                    f"route add default via {self._config.gateway}",
                ],
                inside,
            )
            ip([f"route replace {node['pods']} via {node['address']}"])
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{name} cannot be connected: {error}"
        return "ok"


def _link(name: str, state: str) -> str:
    try:
        ip([f"link set {name} {state}"])
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the link of {name} cannot be set {state}: {error}"
    return "ok"


@contextlib.contextmanager
def _closing(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    finally:
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def main(file: str) -> None:
    """Run the fabric that a configuration file describes."""
    fabric = Fabric(Config(**json.loads(Path(file).read_text())))
    fabric.build()
    asyncio.run(fabric.serve())


if __name__ == "__main__":
    main(sys.argv[1])
