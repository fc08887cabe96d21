"""What `spec.privileges` leaves of a role (api.md, MeshNode)."""

import pytest

from quorate.trust.privileges import Narrowed, narrowed

ALL = ("ProposePolicy", "ValidateAttestation", "VoteOnProposal", "OverridePolicy")


@pytest.mark.parametrize(
    ("privileges", "roles", "withheld", "without_effect"),
    [
        (None, ["GovernanceHub"], (), ()),
        ([], ["GovernanceHub"], ALL, ()),
        ([], ["TrustFork"], ("ValidateAttestation",), ()),
        (["ValidateAttestation"], ["ComplianceWitness"], ("VoteOnProposal",), ()),
        (ALL, ["TrustFork"], (), ("ProposePolicy", "VoteOnProposal", "OverridePolicy")),
        (["VoteOnProposal"], ["TrustFork", "ComplianceWitness"], ("ValidateAttestation",), ()),
        (["VoteOnProposal"], [], (), ("VoteOnProposal",)),
    ],
)
def test_privileges_only_narrow(
    privileges: list[str] | None, roles: list[str], withheld: tuple[str, ...], without_effect: tuple[str, ...]
) -> None:
    """What the roles give and the list lacks is withheld; what the list adds to the roles gives nothing."""
    found = narrowed(privileges, roles)
    assert found == Narrowed(withheld, without_effect)
    assert ("may not" in found.message) is bool(withheld) and ("gives nothing" in found.message) is bool(without_effect)
