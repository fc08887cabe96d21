"""The flags of node agents, and what a Machine key file must be."""

from pathlib import Path

import pytest

from quorate_operator.config import ConfigError, parse
from quorate_operator.errors import Stalled
from quorate_operator.machine_key import read_machine_key
from tests.unit.reconcile.missions import PUBLIC, key_file

NEEDED = ["--node-id", "00000000-0000-4000-8000-000000000000", "--dsn", "x"]


@pytest.mark.parametrize("flag", ["--agent-profile=root", "--agent-env=x", "--agent-env=lower=1", "--agent-env==1"])
def test_bad_flags_are_named(flag: str) -> None:
    """Flag, value and rule."""
    with pytest.raises(ConfigError, match=flag.partition("=")[0]):
        parse([*NEEDED, flag], {})


def test_flags_and_their_twins() -> None:
    """Both ways give the same."""
    flags = parse([*NEEDED, "--agent-image=i", "--agent-env=A=1", "--machine-key=/k"], {})
    twins = parse(NEEDED, {"QUORATE_AGENT_IMAGE": "i", "QUORATE_AGENT_ENV": "A=1", "QUORATE_MACHINE_KEY": "/k"})
    assert flags == twins
    assert (flags.agent_env, flags.machine_key, flags.agent_profile) == ({"A": "1"}, Path("/k"), "observe")


def test_a_key_is_read_and_never_shown(tmp_path: Path) -> None:
    """As keygen writes it."""
    key = read_machine_key(key_file(tmp_path))
    assert key.public == PUBLIC
    assert "private" not in repr(key)


def test_keys_that_are_refused(tmp_path: Path) -> None:
    """None, one that others may read, one that is no key: each names the file and what is wrong."""
    with pytest.raises(Stalled, match="--machine-key FILE"):
        read_machine_key(None)
    path = key_file(tmp_path)
    path.chmod(0o644)
    with pytest.raises(Stalled, match="has mode 0644"):
        read_machine_key(path)
    path.chmod(0o600)
    path.write_text("no key")
    with pytest.raises(Stalled, match="is no PEM private key"):
        read_machine_key(path)
