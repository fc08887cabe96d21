"""An agent's socket for each test that wants one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.sdk.rig import Agent, agent_at, own_folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the socket is."""
    return own_folder(tmp_path) / "mission.sock"


@pytest.fixture
def agent(path: Path) -> Iterator[Agent]:
    """An agent that listens there."""
    with agent_at(path) as found:
        yield found
