"""The command line: `quorate`, and `kubectl quorate` (docs/cli.md)."""
