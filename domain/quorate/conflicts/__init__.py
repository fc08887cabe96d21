"""Conflicts between adopted proposals and other rules, and their arbitration (docs/conflicts.md)."""
