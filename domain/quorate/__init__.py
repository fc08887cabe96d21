"""What is true in Quorate: pure decisions over plain values.

Nothing here performs I/O, reads a clock, a random source or the environment; times, ids and keys are parameters. The
rooms: `api` (custom resources), `identity` (keys, statements), `trust` (domains), `proposals`, `contracts`, `audit`.
"""
