"""Documents are read strictly, and refusals name file, line and rule."""

from pathlib import Path

import pytest

from quorate_cli.output import BadInputError, to_yaml
from quorate_cli.yamlfiles import MAX_BYTES, parse_yaml, read_documents


def refusal(path: Path, text: str | bytes) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(BadInputError) as caught:
        read_documents([path])
    return str(caught.value)


def test_duplicate_keys_are_refused_with_file_and_line(tmp_path: Path) -> None:
    """A key that occurs twice in one mapping is refused, with the file, the line of the second and the key."""
    sentence = refusal(tmp_path / "vote.yaml", "kind: Vote\nspec:\n  voter: a\n  choice: Approve\n  voter: b\n")
    assert "vote.yaml:5: the key 'voter' occurs twice" in sentence


def test_duplicate_keys_of_json_are_refused(tmp_path: Path) -> None:
    """JSON and JSON lines are as strict as YAML."""
    assert "'kind' occurs twice" in refusal(tmp_path / "a.json", '{"kind": "Vote", "kind": "Vote"}')
    sentence = refusal(tmp_path / "a.jsonl", '{"kind": "Vote"}\n{"kind": "Vote", "kind": "Vote"}\n')
    assert "a.jsonl:2: object name 'kind' occurs twice" in sentence


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_manifest_of_two_megabytes_is_refused(tmp_path: Path, suffix: str) -> None:
    """A manifest of 2 MB is refused with its size and the limit, before it is parsed."""
    sentence = refusal(tmp_path / f"big.{suffix}", '{"a": "' + "x" * MAX_BYTES + '"}')
    assert f"the manifest has {MAX_BYTES + 9} bytes; a manifest must be smaller than {MAX_BYTES} bytes" in sentence


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("kind: [Vote", "bad.yaml:1: is not YAML"),
        ("- a\n- b\n", "a document must be an object, not list"),
        (b"kind: \xff", "is not UTF-8 text"),
        ("kind: 5\n", "kind must be a string"),
        ("kind: Vote\nspec: hello\n", "spec must be an object"),
        ("kind: !!python/object:os.system {}\n", "bad.yaml:1: is not YAML"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c {d: *b}\ne: &e [*e]\n", "its anchors expand"),
    ],
)
def test_bad_files_are_refused_with_the_rule(tmp_path: Path, text: str | bytes, rule: str) -> None:
    """What is not a strict document is refused with one sentence."""
    assert rule in refusal(tmp_path / "bad.yaml", text)


def test_anchors_that_multiply_are_refused(tmp_path: Path) -> None:
    """A small file that expands to millions of values is refused without expanding it."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "expand to more than" in refusal(tmp_path / "bomb.yaml", "\n".join(levels))


def test_times_and_words_stay_strings() -> None:
    """Times stay strings, and YAML 1.1 words are not booleans."""
    (document,) = parse_yaml("at: 2026-01-02T03:04:05Z\nanswer: yes\nday: 2026-01-02\nversion: v1\n", "t")
    assert document == {"at": "2026-01-02T03:04:05Z", "answer": "yes", "day": "2026-01-02", "version": "v1"}


@pytest.mark.parametrize(
    "value",
    ["yes", "No", "on", "null", "~", "012", "1e3", "1_000", "2026-01-02", "0x1f", "", " x", "a: b", "line\nbreak", "é"],
)
def test_printed_yaml_reads_back_the_same(value: str) -> None:
    """What is printed reads back as the same string, by YAML 1.1 readers too because it is quoted where they differ."""
    text = to_yaml([{"value": value}])
    assert list(parse_yaml(text, "t")) == [{"value": value}]
    assert value.isidentifier() is False or value.lower() not in ("yes", "no", "on", "null") or f'"{value}"' in text


def test_folders_lists_and_several_documents_are_read_in_order(tmp_path: Path) -> None:
    """A folder stands for its files by name, a List for its items, and a stream for its documents."""
    (tmp_path / "b.yaml").write_text("kind: B\n---\nkind: C\n")
    (tmp_path / "a.json").write_text('{"kind": "List", "items": [{"kind": "A"}, {"kind": "A2"}]}')
    (tmp_path / "ignored.txt").write_text("kind: X")
    assert [document["kind"] for document in read_documents([tmp_path])] == ["A", "A2", "B", "C"]


def test_a_missing_file_is_named() -> None:
    """A file that does not exist is named."""
    with pytest.raises(BadInputError, match=r"nowhere\.yaml: No such file"):
        read_documents(["nowhere.yaml"])
