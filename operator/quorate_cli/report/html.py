"""HTML that cannot be steered by what stands in it: every text is escaped once, here, and nothing else is written."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from quorate_cli.audit.shown import printable


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: Any) -> Html:
    """A value as HTML; control characters and other invisible ones are shown as escapes, None and "" as a dash."""
    if isinstance(value, Html):
        return value
    if value is None or value == "":
        return Html('<span class="none">–</span>')
    if isinstance(value, bool):
        return Html("yes" if value else "no")
    return Html(escape(printable(str(value)), quote=True))


def tag(name: str, *inside: Any, css: str = "") -> Html:
    """An element around values; `css` are its classes."""
    classes = f' class="{escape(css, quote=True)}"' if css else ""
    return Html(f"<{name}{classes}>{''.join(text(item) for item in inside)}</{name}>")


def code(value: Any) -> Html:
    """A digest, id or name in its own type; may be broken anywhere."""
    return tag("code", value) if value not in (None, "") else text(None)


def when(moment: Any) -> Html:
    """A time of a document, kept on one line; the page says once that all are UTC."""
    return tag("time", str(moment).replace("T", " ").removesuffix("Z")) if moment else text(None)


def badge(word: Any, style: str) -> Html:
    """A word in a box; `style` is good, bad, warn or dim. The word says it all, the colour only helps."""
    return tag("span", word, css=f"badge {style}")


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, css: str = "") -> Html:
    """A table whose heading is repeated on each printed page; without rows a sentence instead."""
    lines = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    if not lines:
        return tag("p", "Nothing in this period.", css="none")
    head = tag("thead", tag("tr", *(tag("th", heading) for heading in headings)))
    return tag("table", head, tag("tbody", *lines), css=css)


def facts(pairs: Iterable[tuple[str, Any]]) -> Html:
    """Name and value in two columns; what is None is left out."""
    rows = [tag("tr", tag("th", name), tag("td", value)) for name, value in pairs if value is not None]
    return tag("table", *rows, css="facts")


def page(title: str, style: str, *inside: Any) -> str:
    """A document in one file: no script, no picture and no address can be loaded by it."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n{''.join(text(item) for item in inside)}\n</body>\n</html>\n"
    )
