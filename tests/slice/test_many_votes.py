"""Many open proposals at once, and the votes on all of them, on a real API server and a real Postgres."""

import pytest

from tests.bench.bench_docket import measure

MEGABYTES = 300


@pytest.mark.parametrize(("proposals", "votes"), [(30, 150), pytest.param(1000, 20_000, marks=pytest.mark.long)])
def test_every_vote_is_counted_on_every_proposal(proposals: int, votes: int) -> None:
    """However many are open and however many votes arrive: each is shown as counted, and memory stays bounded."""
    assert measure(proposals, votes).megabytes < MEGABYTES
