"""What `MeshNode.spec.privileges` leaves of a role's privileges (api.md, MeshNode).

They narrow what is admitted under the node's own Kubernetes identity; a signed vote that somebody else applies counts
as before, since the electorate is a function of the accepted revision alone (trust.md).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from quorate.api.schema import Privilege
from quorate.trust.domain import PRIVILEGES


@dataclass(frozen=True)
class Narrowed:
    """Privileges of the node's roles that `spec.privileges` leaves out, and listed ones that no role of it has."""

    withheld: tuple[str, ...]
    without_effect: tuple[str, ...]

    @property
    def message(self) -> str:
        """One sentence for people."""
        said = "spec.privileges leaves the node what its role allows"
        if self.withheld:
            said = f"spec.privileges: the node's own identity may not {', '.join(self.withheld)}; "
            said += "signed votes that others apply count as before"
        if self.without_effect:
            said += f"; {', '.join(self.without_effect)} is of no role of the node and gives nothing"
        return said


def narrowed(privileges: Iterable[str] | None, roles: Iterable[str]) -> Narrowed:
    """What a list of privileges (None: not given, nothing is left out) makes of a node's roles in its domains."""
    granted = frozenset[str]().union(*(PRIVILEGES.get(role, frozenset()) for role in roles))
    if privileges is None:
        return Narrowed((), ())
    listed = frozenset(privileges)
    order = [str(item) for item in Privilege]
    return Narrowed(
        tuple(item for item in order if item in granted - listed),
        tuple(item for item in order if item in listed - granted),
    )
