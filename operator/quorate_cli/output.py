"""What commands print, and how they end.

Results go to standard output, sentences for people to standard error. Colour is used on a terminal only, and never with
NO_COLOR set. Exit codes are part of the interface: docs/cli.md lists them.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum, StrEnum
from io import StringIO
from typing import Any, TextIO

Obj = dict[str, Any]


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    """Done; for `verify`: intact and anchored."""
    FAILED = 1
    """Refused, or a check failed."""
    USAGE = 2
    """Bad input: a flag, a file or a field."""
    UNREACHABLE = 3
    """Cluster, database or agent cannot be reached."""
    TAMPERED = 4
    """verify: something does not hold."""
    UNANCHORED = 5
    """verify: everything holds, but nothing outside proves that it is the whole history."""
    CANNOT_TELL = 6
    """verify: nothing could be checked."""


class CliError(Exception):
    """A refusal: one sentence that names field, value and rule."""

    code = ExitCode.FAILED


class BadInputError(CliError):
    """What the user gave cannot be used."""

    code = ExitCode.USAGE


class UnreachableError(CliError):
    """A service cannot be reached."""

    code = ExitCode.UNREACHABLE


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


Column = tuple[str, Callable[[Any], Any]]
"""A heading, and what a row shows under it; None and empty are shown as `-`."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")
# What YAML 1.1 readers (kubectl among them) would take for a boolean or null.
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])
_COLOURS = {"good": "\033[32m", "bad": "\033[31m", "warn": "\033[33m", "dim": "\033[2m", "bold": "\033[1m"}


def colourful(stream: TextIO) -> bool:
    """Whether colours may be written to `stream`."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """`text` in a style (good, bad, warn, dim, bold) where the stream shows colours."""
    return f"{_COLOURS[style]}{text}\033[0m" if colourful(stream or sys.stdout) else text


def complain(sentence: str) -> None:
    """Print a refusal on standard error."""
    print(f"{paint('error:', 'bad', sys.stderr)} {sentence}", file=sys.stderr)


def warn(sentence: str) -> None:
    """Print a warning on standard error."""
    print(f"{paint('warning:', 'warn', sys.stderr)} {sentence}", file=sys.stderr)


def tell(sentence: str) -> None:
    """Print a sentence for people on standard error, so that standard output stays for programs."""
    print(sentence, file=sys.stderr)


def to_yaml(documents: Iterable[Any]) -> str:
    """YAML that 1.1 and 1.2 readers understand alike: every string that could be taken for anything else is quoted."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - slow to import, and only YAML output needs it
    from ruamel.yaml.representer import SafeRepresenter  # noqa: PLC0415

    class Representer(SafeRepresenter):
        """Quotes ambiguous strings; never writes anchors."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(representer: Any, value: str) -> Any:
        plain = _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS
        return representer.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')

    Representer.add_representer(str, text)
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # a documented switch typed as None
    yaml.width = 4096
    stream = StringIO()
    for index, document in enumerate(documents):
        stream.write("---\n" if index else "")
        yaml.dump(document, stream)
    return stream.getvalue()


def to_json(value: Any) -> str:
    """Indented JSON in the order of the fields."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def show_table(columns: Sequence[Column], rows: Iterable[Any]) -> None:
    """Columns as kubectl prints them: headings in capitals, three spaces between."""
    cells = [[_cell(value(row)) for _, value in columns] for row in rows]
    if not cells:
        tell("nothing found")
        return
    lines = [[name.upper() for name, _ in columns], *cells]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for number, line in enumerate(lines):
        text = "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        print(paint(text, "bold") if number == 0 else text)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("\n", " ")


def show_fields(fields: Mapping[str, Any]) -> None:
    """`name: value` lines with the values in one column; None is left out."""
    shown = {name: value for name, value in fields.items() if value is not None}
    width = max((len(name) for name in shown), default=0) + 2
    for name, value in shown.items():
        print(f"{name + ':':<{width}}{_cell(value)}")


def emit(
    value: Any,
    output: Format,
    *,
    columns: Sequence[Column] = (),
    wide: Sequence[Column] = (),
    name: Callable[[Any], str] | None = None,
) -> None:
    """Print one value or a list in the wanted format; `wide` are the columns that `-o wide` adds."""
    rows = value if isinstance(value, list) else [value]
    if output is Format.JSON:
        print(to_json(value))
    elif output is Format.YAML:
        print(to_yaml([value]), end="")
    elif output is Format.NAME:
        for row in rows:
            print(name(row) if name else object_name(row))
    else:
        show_table([*columns, *(wide if output is Format.WIDE else ())], rows)


def emit_objects(objects: Sequence[Obj], output: Format) -> None:
    """Print Kubernetes objects as documents that `kubectl apply -f` takes, or by name."""
    if output is Format.JSON:
        print(to_json(objects[0] if len(objects) == 1 else {"apiVersion": "v1", "kind": "List", "items": [*objects]}))
    elif output is Format.NAME:
        for item in objects:
            print(object_name(item))
    else:
        print(to_yaml(objects), end="")


def object_name(obj: Mapping[str, Any]) -> str:
    """`kind.group/name` as `kubectl -o name` writes it."""
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    kind = str(obj.get("kind", "")).lower() + (f".{group}" if group else "")
    return f"{kind}/{(obj.get('metadata') or {}).get('name', '')}"
