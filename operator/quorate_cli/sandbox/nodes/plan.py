"""Names and addresses of real nodes, from the sandbox's place and the node network (docs/real-nodes.md)."""

import hashlib
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import Layout

DEFAULT_NETWORK = "10.99.0.0/16"
LABEL = "quorate.dev/real-node"
MOST_NODES = 32
_FIRST = 10
"""Node i has host number 10 + i in the first /24; the bridge has 1."""
_PREFIX = 16


@dataclass(frozen=True, slots=True)
class Network:
    """The addresses of the nodes' network."""

    range: ipaddress.IPv4Network

    @property
    def gateway(self) -> str:
        """The bridge: where the API server answers for nodes."""
        return str(self.range[1])

    def node(self, number: int) -> str:
        """Address of node `number`, from 1."""
        return str(self.range[_FIRST + number])

    def pods(self, number: int) -> str:
        """Range of the pods of node `number`."""
        return f"{self.range[number * 256]}/24"


@dataclass(frozen=True, slots=True)
class RealNode:
    """One real node."""

    name: str
    address: str
    pods: str
    directory: Path
    """Everything that it keeps on the machine's disk."""
    group: str
    """Name of its directory in each cgroup hierarchy."""

    @property
    def component(self) -> str:
        """Its name among the sandbox's components."""
        return f"node-{self.name}"


def network(value: str, *, taken: Iterable[str] = ()) -> Network:
    """The node network, if it can be one; `taken`: ranges that are in use elsewhere (`host.ranges`).

    Raises:
        SandboxError: no private /16, or a range in use overlaps it.
    """
    try:
        found = ipaddress.IPv4Network(value)
    except ValueError as error:
        raise SandboxError(f"--node-network {value!r}: {error}; it must be like {DEFAULT_NETWORK}") from None
    if found.prefixlen != _PREFIX or not found.is_private:
        raise SandboxError(f"--node-network {value}: must be a private /{_PREFIX}, like {DEFAULT_NETWORK}")
    for each in taken:
        if found.overlaps(ipaddress.IPv4Network(each)):
            raise SandboxError(
                f"--node-network {value}: overlaps {each}, which is in use here; choose another /{_PREFIX}"
            )
    return Network(found)


def nodes(layout: Layout, addresses: Network, count: int) -> list[RealNode]:
    """The nodes `real-1` to `real-<count>` of a sandbox."""
    digest = hashlib.sha256(os.fsencode(layout.state.absolute())).hexdigest()[:12]
    return [
        RealNode(
            name=f"real-{number}",
            address=addresses.node(number),
            pods=addresses.pods(number),
            directory=layout.state / "nodes" / f"real-{number}",
            group=f"quorate-{digest}-real-{number}",
        )
        for number in range(1, count + 1)
    ]
