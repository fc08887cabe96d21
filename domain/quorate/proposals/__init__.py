"""Proposals: opening, votes, decision, life, execution and evidence (governance.md)."""
