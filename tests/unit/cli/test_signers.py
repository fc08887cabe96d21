"""Key files and the SSH agent give the same signatures and keep their secrets."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from quorate.identity import ed25519
from quorate_cli.keys import Purpose, make_key
from quorate_cli.output import BadInputError, CliError, UnreachableError
from quorate_cli.signers import agent as agents
from quorate_cli.signers import open_signer
from quorate_operator.store.intake import read_key
from tests.unit.cli.conftest import Quorate

RFC8032_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real ssh-agent with one Ed25519 key, comment `alice@desk`; yields the folder of the key."""
    if shutil.which("ssh-agent") is None or shutil.which("ssh-add") is None:
        pytest.skip("no ssh-agent: install openssh-client")
    folder = tmp_path_factory.mktemp("a")
    socket = folder / "s"
    server = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert server.stdout is not None
    server.stdout.readline()  # it has printed its socket: it listens
    environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alice@desk", "-f", str(folder / "id")], check=True
    )
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(folder / "rsa")], check=True)
    for key in ("id", "rsa"):
        subprocess.run(["ssh-add", "-q", str(folder / key)], check=True, env=environment)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    yield folder
    server.terminate()
    server.wait(timeout=10)


def test_the_agent_signs_like_the_key_file(agent: Path) -> None:
    """A key in a real ssh-agent gives the very signature of its file, found by comment, fingerprint and public key."""
    of_file, of_agent = open_signer(str(agent / "id")), open_signer("agent:alice@desk")
    message = b"DSSEv1 message"
    assert of_agent.sign(message) == of_file.sign(message)
    assert ed25519.verify(of_agent.public_key, message, of_agent.sign(message))
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(agent / "id.pub")], check=True, capture_output=True, text=True
    )
    assert open_signer(f"agent:{shown.stdout.split()[1]}").public_key == of_file.public_key


def test_the_agent_refuses_what_it_does_not_hold(agent: Path) -> None:
    """A key that the agent does not hold is refused with what it holds; RSA keys are not among them."""
    with pytest.raises(BadInputError, match="holds no such Ed25519 key; it holds alice@desk"):
        open_signer("agent:bob")


def test_a_message_too_large_for_the_agent_says_so(agent: Path) -> None:
    """More than 256 KiB are refused with the way out."""
    with pytest.raises(BadInputError, match=r"takes at most 262144 bytes.*sign it with a key file"):
        open_signer("agent:alice@desk").sign(b"x" * 262_144)


def test_without_an_agent_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No agent, and a socket where nobody listens, are UNREACHABLE."""
    with pytest.raises(UnreachableError, match="SSH_AUTH_SOCK is not set"):
        open_signer("agent:alice")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "none"))
    with pytest.raises(UnreachableError, match="No such file"):
        open_signer("agent:alice")


def test_an_agent_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An answer that comes a byte at a time ends with the bound of the whole answer."""
    monkeypatch.setattr(agents, "TIMEOUT_SECONDS", 0.3)
    given_up = Event()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.sendall(b"\x00\x00\xff\xff")
                while not given_up.wait(0.05):
                    connection.sendall(b"\x0c")

        thread = Thread(target=drip)
        thread.start()
        with pytest.raises(UnreachableError, match="timed out"):
            agents.Agent(str(tmp_path / "s")).identities()
        given_up.set()
        thread.join()


@pytest.mark.parametrize("purpose", [item for item in Purpose if item is not Purpose.INTAKE])
def test_made_keys_are_private_and_sign(tmp_path: Path, purpose: Purpose) -> None:
    """Every purpose gives a file of mode 0600 whose signatures verify; neither description nor repr shows it."""
    made = make_key("mesh/fleet", purpose, tmp_path)
    path = Path(made["file"])
    signer = open_signer(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert ed25519.verify(signer.public_key, b"m", signer.sign(b"m"))
    assert path.with_suffix(".pub").read_text().strip() == made["publicKey"]
    assert path.read_text().strip() not in str(made) + repr(signer)


def test_the_intake_key_is_the_one_that_the_operator_reads(tmp_path: Path) -> None:
    """It has no public half, mode 0600, and one name."""
    made = make_key("intake", Purpose.INTAKE, tmp_path)
    assert made["publicKey"] is None and read_key(tmp_path).hex() == Path(made["file"]).read_text().strip()
    with pytest.raises(BadInputError, match="the intake key is called intake"):
        make_key("other", Purpose.INTAKE, tmp_path)


def test_keygen_never_overwrites(quorate: Quorate, tmp_path: Path) -> None:
    """A second key of the same name is refused, and the first file stays as it was."""
    first = quorate("keygen", "alice", "-d", tmp_path / "keys", "-o", "name")
    assert first.code == 0 and first.out == f"{tmp_path}/keys/alice.key\n"
    before = (tmp_path / "keys" / "alice.key").read_bytes()
    second = quorate("keygen", "alice", "-d", tmp_path / "keys")
    assert (second.code, (tmp_path / "keys" / "alice.key").read_bytes()) == (2, before)
    assert "exists and is not overwritten" in second.err


def test_key_files_that_others_can_read_are_refused(tmp_path: Path) -> None:
    """A key file must be readable by its owner only; the sentence gives the command."""
    path = Path(make_key("a", Purpose.VOTE, tmp_path)["file"])
    path.chmod(0o640)
    with pytest.raises(BadInputError, match=r"\(0600\), not 0640: chmod 600"):
        open_signer(str(path))


def test_foreign_and_protected_keys_are_refused(agent: Path, tmp_path: Path) -> None:
    """RSA keys, keys with a password, other files and folders are refused by name, and nothing of them is shown."""
    protected = tmp_path / "protected"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(protected)], check=True)
    text = tmp_path / "text"
    text.write_text("hello secret")
    text.chmod(0o600)
    for path, rule in (
        (agent / "rsa", "only Ed25519"),
        (protected, "protected by a password"),
        (text, "is not a PEM, OpenSSH or C2SP private key"),
        (tmp_path, "Is a directory|not a regular file"),
        (tmp_path / "none", "No such file"),
    ):
        with pytest.raises(CliError, match=rule) as caught:
            open_signer(str(path))
        assert "secret" not in str(caught.value)
