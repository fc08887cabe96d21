"""Keys, signatures and the statements that they sign (trust.md, docs/formats.md)."""
