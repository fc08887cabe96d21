"""C2SP cosignatures against what public witnesses made.

The checkpoint is one that the public log arche2025h1.staging.ct.transparency.dev published on 23 May 2026, the keys are
those that its witnesses publish. The timestamp is of note/note_cosigv1_test.go of github.com/transparency-dev/formats.
"""

import base64

import pytest

from quorate.audit.checkpoint import open_checkpoint
from quorate.audit.note import NoteError, UnsignedError, cosign, verify_cosignature, verify_note
from quorate.identity.vkey import COSIGNATURE, SignerKey, VerifierKey, parse_verifier_key

LOG = "arche2025h1.staging.ct.transparency.dev"
NOTE = f"""{LOG}
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— {LOG} zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— {LOG} ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""  # noqa: E501 - published bytes
LOG_KEY = parse_verifier_key(f"{LOG}+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f")
WITNESSES = [
    parse_verifier_key(text)
    for text in (
        "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
        "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
        "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
    )
]


def test_public_witnesses_verify() -> None:
    """The cosignatures of four public witnesses verify, each with its time; the log's own line still counts alone."""
    note = verify_note(NOTE, [LOG_KEY], WITNESSES)
    assert [(item.key, item.at) for item in note.cosignatures] == [(key, 0x6A122120) for key in WITNESSES]
    assert open_checkpoint(NOTE, [LOG_KEY], origin=LOG).size == 1_432_088_532
    assert str(note) == NOTE
    with pytest.raises(UnsignedError):
        verify_note(NOTE, WITNESSES, WITNESSES)


@pytest.mark.parametrize("key", WITNESSES, ids=lambda key: key.name)
def test_a_changed_byte_of_a_known_witness_invalidates_the_note(key: VerifierKey) -> None:
    """Key id apart, every byte of a known witness's line counts: time and signature."""
    note = verify_note(NOTE, [LOG_KEY], WITNESSES)
    line = next(item.line for item in note.cosignatures if item.key == key)
    for index in range(0, 72, 5):
        changed = bytearray(line.signature)
        changed[index] ^= 1
        other = base64.b64encode(line.key_id + changed).decode()
        forged = NOTE.replace(str(line), f"— {line.name} {other}\n")
        assert forged != NOTE
        with pytest.raises(NoteError, match="does not verify"):
            verify_note(forged, [LOG_KEY], WITNESSES)
        assert len(verify_note(forged, [LOG_KEY], [item for item in WITNESSES if item != key]).cosignatures) == 3


def test_time_stands_where_other_programs_read_it() -> None:
    """A line that we make has its Unix seconds after the key id, as the public test value has them."""
    published = base64.b64decode(
        "ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gxEHWWOworDcFiEBYJXORmnFBOBA=="
    )
    witness = SignerKey("witness.example/w1", bytes(range(32)), COSIGNATURE)
    line = cosign("test\n", witness, at=1_727_964_367)
    assert line.signature[:8] == published[4:12] and len(line.signature) == len(published) - 4
    assert verify_cosignature("test\n", line, witness.verifier) == 1_727_964_367
