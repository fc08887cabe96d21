"""A topology document as a Mermaid flowchart: nodes by domain, connections with their trust."""

from collections.abc import Iterator, Mapping
from typing import Any

_SHAPES = {"governance_hub": ("([", "])"), "compliance_witness": ("[", "]"), "trust_fork": ("[/", "/]")}
_LINES = {"direct": "-->", "relay": "-.->", "backup": "-.-"}


def draw(document: Mapping[str, Any], names: Mapping[str, str] | None = None) -> str:
    """Mermaid text; `names` gives a node's id a name, else its first eight characters stand for it.

    A node of several domains stands in the first one; hubs are round, what is not active is dashed.
    """
    return "\n".join(_lines(document, names or {})) + "\n"


def _lines(document: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    nodes = {node["node_id"]: node for node in document["nodes"]}
    marks = {name: f"n{index}" for index, name in enumerate(sorted(nodes))}
    placed: set[str] = set()
    yield "flowchart LR"
    for index, domain in enumerate(document["domains"]):
        yield f'  subgraph d{index}["{_plain(domain["name"])}"]'
        for name in sorted(set(domain["member_nodes"]) & set(nodes) - placed):
            opening, closing = _SHAPES[nodes[name]["node_type"]]
            yield f'    {marks[name]}{opening}"{_plain(names.get(name, name[:8]))}"{closing}'
            placed.add(name)
        yield "  end"
    for item in document["connections"]:
        label = "" if "trust_score" not in item else f"|{item['trust_score']}|"
        source, target = marks[item["source_node_id"]], marks[item["target_node_id"]]
        yield f"  {source} {_LINES[item['connection_type']]}{label} {target}"
    idle = [marks[name] for name, node in sorted(nodes.items()) if node["status"] != "active" and name in placed]
    if idle:
        yield "  classDef idle stroke-dasharray: 4 4"
        yield f"  class {','.join(idle)} idle"


def _plain(text: str) -> str:
    """A label that Mermaid reads as text."""
    return "".join(character if character.isalnum() or character in " -._" else "_" for character in text)
