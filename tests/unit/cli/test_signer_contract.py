"""Every signer holds to the port: file, SSH agent, PKCS#11 token, program (docs/signers.md)."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quorate.canonical import decode_base64, encode_base64
from quorate.identity import ed25519
from quorate.identity.statements import Statement, vote_statement
from quorate_cli.keys import Purpose, make_key
from quorate_cli.output import BadInputError, CliError, UnreachableError, to_yaml
from quorate_cli.signers import Checked, Signer, hsm, open_signer, program, sign_statement
from quorate_cli.yamlfiles import read_document
from tests.unit.cli.conftest import Quorate
from tests.unit.cli.soft_token import PIN, SoftToken, make_token

PAGE = Path(__file__).parents[3] / "docs/signers.md"
SIZES = (0, 1, 1024, 200_000)
KINDS = ("file", "agent", "token", "program")


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftToken]:
    """The token, and its configuration for as long as the module is loaded."""
    with pytest.MonkeyPatch.context() as patch:
        yield make_token(tmp_path_factory.mktemp("hsm"), patch)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    """A Vote key in a file."""
    return str(make_key("alice", Purpose.VOTE, tmp_path)["file"])


@pytest.fixture
def agent(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real ssh-agent that holds a key with the comment `alice`."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("no ssh-agent: install openssh-client")
    folder = tmp_path_factory.mktemp("a")
    server = subprocess.Popen(["ssh-agent", "-D", "-a", str(folder / "s")], stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()  # it has printed its socket: it listens
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-C", "alice", "-f", folder / "id"], check=True)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(folder / "s"))
    subprocess.run(["ssh-add", "-q", folder / "id"], check=True)
    yield "agent:alice"
    server.terminate()
    server.wait(timeout=10)


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    """`script(text)` → the `exec:` name of a Python program of this text."""

    def write(text: str, *arguments: str) -> str:
        path = tmp_path / "signer.py"
        path.write_text(text)
        return "exec:" + " ".join((sys.executable, str(path), *arguments))

    return write


@pytest.fixture
def source(request: pytest.FixtureRequest) -> str:
    """What `--key` says for each kind of signer."""
    kind = request.param
    if kind == "token":
        return str(request.getfixturevalue("token").uri())
    if kind == "program":
        return str(request.getfixturevalue("script")(example(), request.getfixturevalue("key_file")))
    return str(request.getfixturevalue("key_file" if kind == "file" else kind))


def example() -> str:
    """The program on the page."""
    found = re.search(r"<!-- signer -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


every_signer = pytest.mark.parametrize("source", KINDS, indirect=True)


@every_signer
def test_signatures_verify_whatever_the_size(source: str) -> None:
    """The public key is acceptable, and each signature is the one that RFC 8032 gives: the same again, verified."""
    signer: Signer = open_signer(source)
    assert ed25519.check_public_key(signer.public_key) == signer.public_key
    for size in SIZES:
        message = bytes(size)
        signature = signer.sign(message)
        assert ed25519.verify(signer.public_key, message, signature)
        assert signature == signer.sign(message)


@every_signer
def test_a_statement_is_signed(source: str) -> None:
    """What comes out verifies as the DSSE signature of the statement."""
    signer, statement = open_signer(source), Statement("vote", {"choice": "Approve", "sequence": 1})
    assert statement.verify(signer.public_key, sign_statement(signer, statement))


@every_signer
def test_no_secret_is_shown(source: str, request: pytest.FixtureRequest) -> None:
    """Neither label nor repr nor a refusal holds the private key, the PIN, or the seed of the file."""
    signer = open_signer(source)
    signer.sign(b"once, so that whatever is kept is kept")
    secrets = [PIN]
    if "key_file" in request.fixturenames or ".key" in source:
        secrets += Path(source.rsplit(maxsplit=1)[-1]).read_text().splitlines()[1:2]
    shown = signer.label + repr(signer)
    assert not any(secret in shown for secret in secrets)
    assert signer.label and "\n" not in signer.label


@every_signer
def test_the_public_key_is_printed_for_the_constitution(source: str, quorate: Quorate) -> None:
    """`quorate key` gives the 43 characters that a TrustDomain holds."""
    found = quorate("key", "--key", source, "-o", "name")
    assert (found.code, decode_base64(found.out.strip(), length=32)) == (0, open_signer(source).public_key)


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("token=governance;object=bob", "", "holds no Ed25519 public key of this name"),
        ("token=other;object=alice", "", "no token of"),
        ("token=governance", "", "names no key"),
        ("token=governance;object=alice;type=cert", "", "'cert' cannot sign"),
        ("token=governance;object=alice;slot=1", "", "attribute 'slot' is none of"),
        ("token=governance;object=alice;object=bob", "", "occurs twice"),
        ("token=governance;object=alice", "&pin-value=12345", "would put the PIN on the command line"),
        ("token=governance;id=%01", None, "names no module"),
        ("token=governance;id=%01", "elsewhere.so", "no such file"),
    ],
)
def test_a_uri_that_names_no_key_is_refused(token: SoftToken, path: str, query: str | None, said: str) -> None:
    """Each refusal names the URI, without its query, and what is wrong with it; a PIN in it is not repeated."""
    module = (
        "" if query is None else f"?module-path={query}" if query.endswith(".so") else f"?module-path={token.module}"
    )
    with pytest.raises(CliError, match=said) as caught:
        open_signer(f"pkcs11:{path}{module}{'' if module == '' or query is None or query.endswith('.so') else query}")
    assert "12345" not in str(caught.value)


def test_a_key_on_a_token_is_found_by_its_id(token: SoftToken) -> None:
    """`id=%01` names the same key as its label."""
    assert (
        open_signer(token.uri("serial=" + serial(token) + ";id=%01")).public_key == open_signer(token.uri()).public_key
    )


def serial(token: SoftToken) -> str:
    import pkcs11  # noqa: PLC0415

    return bytes(pkcs11.lib(token.module).get_token(token_label="governance").serial).decode().strip()


def test_a_wrong_pin_is_refused_once(token: SoftToken, tmp_path: Path) -> None:
    """The refusal shows no PIN, a file that others can read is not used, and the right PIN still works."""
    wrong = tmp_path / "wrong.pin"
    wrong.touch(mode=0o600)
    wrong.write_text("99999999")
    # A login is the process's, so this needs one of its own.
    code = "import sys; from quorate_cli.signers import open_signer; open_signer(sys.argv[1]).sign(b'm')"
    found = subprocess.run(
        [sys.executable, "-c", code, token.uri(pin=wrong)], capture_output=True, text=True, check=False
    )
    assert "the PIN is not the token's; it is not tried again" in found.stderr and "99999999" not in found.stderr
    wrong.chmod(0o644)
    with pytest.raises(BadInputError, match="may be read by its owner only"):
        open_signer(token.uri(pin=wrong)).sign(b"m")
    assert len(open_signer(token.uri()).sign(b"m")) == 64


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "holds no PIN"), (b"\n", "holds no PIN"), (b"\xff1", "is not UTF-8")]
)
def test_a_pin_file_without_a_pin_costs_no_try(token: SoftToken, tmp_path: Path, content: bytes, said: str) -> None:
    """What can be no PIN is refused by its file before the token sees it."""
    file = tmp_path / "alice.pin"
    file.touch(mode=0o600)
    file.write_bytes(content)
    with pytest.raises(BadInputError, match=f"PIN file .*alice.pin: {said}"):
        open_signer(token.uri(pin=file)).sign(b"m")


def test_the_pin_is_asked_for_once_and_unseen(token: SoftToken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pin-source the terminal is asked, at the first signature only; without a terminal it says so."""
    asked: list[str] = []
    monkeypatch.setattr(hsm, "getpass", lambda prompt: asked.append(prompt) or PIN)
    uri = token.uri().partition("&")[0]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(BadInputError, match="no terminal to ask for the PIN"):
        open_signer(uri).sign(b"m")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    signer = open_signer(uri)
    assert len(signer.sign(b"1")) == len(signer.sign(b"2")) == 64
    assert asked == ["PIN of token governance: "]


def test_a_token_that_hangs_is_given_up(token: SoftToken) -> None:
    """A module that does not answer ends the wait, by name."""
    assert token
    with pytest.raises(UnreachableError, match=r"--key here: the token did not answer within 0\.05 s"):
        hsm.bounded(lambda: time.sleep(30), "here", 0.05)


GOOD = encode_base64(ed25519.public_key_of(bytes(32)))
ZERO = encode_base64(bytes(32))


def answering(public: str, signature: str = "") -> str:
    """A program that answers with these."""
    body = {"apiVersion": program.VERSION, "publicKey": public, "signature": signature}
    return f"import json,sys; json.load(sys.stdin); print(json.dumps({body!r}))"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys; sys.exit(3)", "ended with exit status 3"),
        ("print('hello')", "is no JSON object"),
        ("print('[]')", "without apiVersion"),
        ('print(\'{"apiVersion": "v2"}\')', "without apiVersion quorate.dev/signer/v1"),
        (f'print(\'{{"apiVersion": "{program.VERSION}"}}\')', "holds no publicKey"),
        ("print('x' * 70000)", "more than 65536 bytes"),
        (answering("AAAA"), "publicKey that is refused: malformed public key"),
        (answering(ZERO), "low order"),
    ],
)
def test_a_program_that_answers_wrongly_is_refused(script: Callable[[str], str], text: str, said: str) -> None:
    """Exit status, form, size and key of the answer are checked, and the sentence names the program."""
    with pytest.raises(CliError, match=said) as caught:
        open_signer(script(text))
    assert str(caught.value).startswith(f"--key exec:{sys.executable}:")


@pytest.mark.parametrize(
    ("signature", "said"),
    [("AAAA", "expected 86 characters"), ("A" * 86, f"signature that public key {GOOD} does not verify")],
)
def test_a_false_signature_is_not_used(script: Callable[[str], str], signature: str, said: str) -> None:
    """What a program answers is verified before anybody else sees it."""
    with pytest.raises(CliError, match=re.escape(said)):
        open_signer(script(answering(GOOD, signature))).sign(b"m")


def test_whatever_signs_outside_is_checked(token: SoftToken, agent: str) -> None:
    """Agent and token are held to their public key too."""
    for signer in (open_signer(agent), open_signer(token.uri())):
        assert isinstance(signer, Checked)
        other = Checked(Other(signer))
        with pytest.raises(CliError, match="does not verify"):
            other.sign(b"m")


class Other:
    """A signer that signs something else than it is asked."""

    def __init__(self, signer: Signer) -> None:
        self.label, self.public_key, self._signer = signer.label, signer.public_key, signer

    def sign(self, message: bytes) -> bytes:
        """The signature of another message."""
        return self._signer.sign(message + b"!")


@pytest.mark.parametrize(
    "text", ["import time; time.sleep(60)", "import os; os.close(1); os.read(0, 1); import time; time.sleep(60)"]
)
def test_a_program_that_hangs_is_ended(script: Callable[[str], str], text: str) -> None:
    """Whether it keeps its output open or not, it is given a bounded time and then killed."""
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"did not (answer|end) in time; it was ended"):
        program.find_program(script(text).removeprefix("exec:"), timeout=0.5)
    assert time.monotonic() - began < 10


def test_no_program_and_no_shell(tmp_path: Path) -> None:
    """A program that is not there is UNREACHABLE, an empty name BAD INPUT, and a shell's characters mean nothing."""
    with pytest.raises(UnreachableError, match="cannot be run: No such file"):
        open_signer(f"exec:{tmp_path}/none")
    for empty in ("exec:", "exec:'"):
        with pytest.raises(BadInputError):
            open_signer(empty)
    with pytest.raises(CliError):
        open_signer(f"exec:/bin/echo $(touch {tmp_path}/made); touch {tmp_path}/made")
    assert not (tmp_path / "made").exists()


def test_an_argument_of_a_program_is_not_shown() -> None:
    """A command that cannot be split is refused without its text, which may hold a secret."""
    with pytest.raises(BadInputError, match="No closing quotation") as refused:
        open_signer("exec:sign --token=hunter2 'x")
    assert "hunter2" not in str(refused.value)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `pkcs11:` key without python-pkcs11 names the extra."""
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(BadInputError, match=re.escape("pip install 'quorate[pkcs11]'")):
        open_signer("pkcs11:object=alice?module-path=/none.so")


def test_a_vote_is_signed_on_a_token(token: SoftToken, quorate: Quorate, fleet: Path) -> None:
    """A vote cast with a token's key verifies under the key that `quorate key` prints; the PIN shows nowhere."""
    public = quorate("key", "--key", token.uri(), "-o", "name").out.strip()
    domain = fleet / "td.yaml"
    document = read_document(domain)
    voter = document["spec"]["members"][0]
    voter["keys"] = [{"purpose": "Vote", "name": "token", "publicKey": public}]
    domain.write_text(to_yaml([document]))
    arguments = ("raise-memory-ceiling", "--key", token.uri(), "-f", fleet / "gp.yaml", "-f", domain)
    who = ("--voter", voter["nodeId"], "--key-name", "token")
    found = quorate("vote", "approve", *arguments, *who, "--dry-run", "-o", "yaml")
    assert found.code == 0, found.err
    statement = vote_statement(document["spec"]["meshId"], found.document["spec"])
    assert statement.verify(decode_base64(public, length=32), found.document["spec"]["signature"])
    assert PIN not in found.err + found.out
