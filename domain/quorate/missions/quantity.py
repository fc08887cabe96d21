"""Kubernetes quantities as whole bytes."""

import re

_SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
             "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}  # fmt: skip
_FORM = re.compile(r"([0-9]+)(?:[.]([0-9]+))?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?", re.ASCII)


def bytes_of(quantity: int | str) -> int:
    """Whole bytes of `20Gi`, `1.5G` or an integer, rounded down: a limit never becomes more than was written.

    Raises:
        ValueError: it has another form.
    """
    found = _FORM.fullmatch(str(quantity))
    if found is None:
        raise ValueError(f"{quantity!r} is no quantity")
    whole, part, suffix = found[1], found[2] or "", found[3] or ""
    digits = int(whole + part)
    scale = int(10 ** len(part))
    return digits // (scale * 1000) if suffix == "m" else digits * _SUFFIXES[suffix] // scale
