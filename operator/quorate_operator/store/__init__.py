"""The store: the log and content by digest, on Postgres (audit.md).

`ports` says what the operator may rely on; `postgres` keeps it for real, `memory` for tests of the rooms above.
"""
