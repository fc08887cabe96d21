"""Adding a signed act to a proposal that others write to as well."""

from typing import Any

import pytest

from quorate_cli.acts import add_act
from quorate_cli.cluster import RefusedError
from quorate_cli.output import CliError

ACT = {"act": "Stop", "by": "ann"}


class _Busy:
    """A cluster on which somebody else was faster `times` times; `newer` is what they left."""

    def __init__(self, times: int, newer: dict[str, Any]) -> None:
        self.times, self.newer = times, newer

    def patch(self, proposal: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        self.times -= 1
        if self.times >= 0:
            raise RefusedError("the object has been modified", 409)
        return {**proposal, "spec": {**proposal["spec"], **changes["spec"]}}

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        return self.newer


def _proposal(signature: str = "S", *stops: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "raise", "namespace": "default"}, "spec": {"signature": signature, "stops": [*stops]}}


def test_an_act_goes_behind_what_others_added_meanwhile() -> None:
    """After a conflict the act stands beside the other's, whose act is not lost."""
    other = {"act": "Stop", "by": "bob"}
    added = add_act(_Busy(2, _proposal("S", other)), ACT, _proposal())  # type: ignore[arg-type]
    assert added["spec"]["stops"] == [other, ACT]


def test_an_act_is_not_carried_over_to_an_amendment() -> None:
    """It binds a digest: on a proposal that was signed anew meanwhile it would say nothing."""
    with pytest.raises(RefusedError):
        add_act(_Busy(1, _proposal("other")), ACT, _proposal())  # type: ignore[arg-type]


def test_a_proposal_that_never_rests_is_given_up() -> None:
    """The attempts are bounded."""
    with pytest.raises(CliError, match="nothing was written"):
        add_act(_Busy(1000, _proposal()), ACT, _proposal())  # type: ignore[arg-type]
