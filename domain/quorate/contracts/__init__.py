"""Contracts: canonical content, patches relative to a clause, surfaces, differences, drift (governance.md)."""
