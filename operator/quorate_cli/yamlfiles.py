"""Documents from files: YAML 1.2, JSON and JSON lines, read strictly.

Duplicate keys are refused with file and line, because two readers would take two different values; floats, anchors that
multiply, and files too large for the API server are refused too. Times stay strings.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from quorate.canonical import NotCanonicalError, parse_json
from quorate_cli.output import BadInputError

Obj = dict[str, Any]
MAX_BYTES = 2_000_000
"""A manifest is refused from this size on: the API server and etcd would refuse it anyway."""
MAX_LINES_BYTES = 64_000_000
"""Of a file of JSON lines, each of which is a document of its own."""
MAX_NODES = 1_000_000
_FOLDER = ("*.yaml", "*.yml", "*.json", "*.jsonl")


def read_documents(paths: Sequence[str | Path]) -> list[Obj]:
    """All objects in the files, in order; a folder stands for its YAML and JSON files by name, `-` for standard input.

    Raises:
        BadInputError: names the file, the line where there is one, and the rule.
    """
    return [document for path in paths for file in _files(path) for document in _read(file)]


def read_document(path: str | Path) -> Obj:
    """The only object in a file; BadInputError if there are none or several."""
    documents = read_documents([path])
    if len(documents) != 1:
        raise BadInputError(f"{path}: holds {len(documents)} documents; exactly one is expected")
    return documents[0]


def of_kind(documents: Sequence[Obj], kind: str) -> list[Obj]:
    """The objects of one kind."""
    return [document for document in documents if document.get("kind") == kind]


def one_of_kind(path: str | Path, kind: str) -> Obj:
    """The only object of a kind in a file; BadInputError otherwise."""
    found = of_kind(read_documents([path]), kind)
    if len(found) != 1:
        raise BadInputError(f"{path}: holds {len(found)} objects of kind {kind}; exactly one is expected")
    return found[0]


def _files(path: str | Path) -> list[Path]:
    place = Path(path)
    if str(path) != "-" and place.is_dir():
        return sorted(file for pattern in _FOLDER for file in place.glob(pattern))
    return [place]


def _read(path: Path) -> Iterator[Obj]:
    name = "standard input" if str(path) == "-" else str(path)
    data = _bytes(path, name)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadInputError(f"{name}: is not UTF-8 text: {error.reason} at byte {error.start}") from error
    values = _lines(text, name) if _is_lines(path, text) else _json_or_yaml(text, data, name)
    for value in values:
        yield from _objects(value, name)


def _bytes(path: Path, name: str) -> bytes:
    try:
        if str(path) == "-":
            return sys.stdin.buffer.read(MAX_LINES_BYTES + 1)
        with path.open("rb") as file:
            return file.read(MAX_LINES_BYTES + 1)
    except OSError as error:
        raise BadInputError(f"{name}: {error.strerror or error}") from error


def check_size(size: int, name: str) -> None:
    """BadInputError for a manifest that the API server would not take."""
    if size >= MAX_BYTES:
        rule = f"a manifest must be smaller than {MAX_BYTES} bytes, the API server takes no larger object"
        raise BadInputError(f"{name}: the manifest has {size} bytes; {rule}")


def _is_lines(path: Path, text: str) -> bool:
    if path.suffix in (".jsonl", ".ndjson"):
        return True
    lines = [line for line in text[:200_000].splitlines() if line.strip()][:2]
    return len(lines) == 2 and all(line.startswith("{") and line.rstrip().endswith("}") for line in lines)


def _lines(text: str, name: str) -> Iterator[Any]:
    if len(text) > MAX_LINES_BYTES:
        raise BadInputError(f"{name}: has over {MAX_LINES_BYTES} bytes; split it")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            check_size(len(line), f"{name}:{number}")
            yield _json(line, f"{name}:{number}")


def _json(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except NotCanonicalError as error:
        raise BadInputError(f"{where}: {error}") from error


def _json_or_yaml(text: str, data: bytes, name: str) -> Iterator[Any]:
    check_size(len(data), name)
    if text.lstrip().startswith("{") and not re.search(r"^---", text, re.MULTILINE):
        yield _json(text, name)
    else:
        yield from parse_yaml(text, name)


def parse_yaml(text: str, name: str) -> Iterator[Any]:
    """The documents of a YAML 1.2 text; BadInputError with `name:line` for what is refused."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - slow to import
    from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor  # noqa: PLC0415
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415

    class Constructor(SafeConstructor):
        """Times stay strings, as Kubernetes reads them."""

    Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Constructor
    try:
        for document in yaml.load_all(text):
            if document is not None:
                _check_expansion(document, name)
                yield document
    except DuplicateKeyError as error:
        raise BadInputError(f"{name}:{_line(error)}: {_duplicate(error)}") from error
    except MarkedYAMLError as error:
        raise BadInputError(f"{name}:{_line(error)}: is not YAML: {error.problem or error.context}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise BadInputError(f"{name}: is not YAML: {str(error).splitlines()[0]}") from error


def _line(error: Any) -> int:
    mark = error.problem_mark or error.context_mark
    return 0 if mark is None else int(mark.line) + 1


def _duplicate(error: Any) -> str:
    found = re.search(r'duplicate key "([^"]*)"', str(error.problem or ""))
    key = repr(found.group(1)) if found else "a key"
    return f"the key {key} occurs twice in one mapping; YAML keys must be unique"


def _check_expansion(document: Any, name: str) -> None:
    """Refuse anchors that multiply: aliases share memory here, but not in what is signed or sent."""
    sizes: dict[int, int] = {}

    def size(value: Any) -> int:
        if not isinstance(value, dict | list):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = MAX_NODES + 1  # a cycle counts as too large
            parts = value.values() if isinstance(value, dict) else value
            sizes[id(value)] = 1 + sum(size(part) for part in parts)
        return sizes[id(value)]

    if size(document) > MAX_NODES:
        raise BadInputError(f"{name}: its anchors expand to more than {MAX_NODES} values")


def _objects(value: Any, name: str) -> Iterator[Obj]:
    if not isinstance(value, dict):
        raise BadInputError(f"{name}: a document must be an object, not {type(value).__name__}")
    if value.get("kind") == "List" and isinstance(value.get("items"), list):
        for item in value["items"]:
            yield from _objects(item, name)
        return
    for field, kind in (("kind", str), ("metadata", dict), ("spec", dict)):
        if field in value and not isinstance(value[field], kind):
            raise BadInputError(f"{name}: {field} must be {'an object' if kind is dict else 'a string'}")
    yield value


def read_bytes(path: str | Path, maximum: int) -> bytes:
    """A file of at most `maximum` bytes as it is, evidence bundles for example."""
    name = "standard input" if str(path) == "-" else str(path)
    data = _bytes(Path(path), name)
    if len(data) > maximum:
        raise BadInputError(f"{name}: has over {maximum} bytes")
    return data
