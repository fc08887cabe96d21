"""The tamper-evident log as pure arithmetic: entries, records, chain, Merkle tree, checkpoints, verifier (audit.md).

An entry's *content* is canonical JSON; its *record* is a fixed header and the content; a record is one leaf of an
RFC 6962 tree and one link of the chain. Storage lives in `quorate_operator.store`, which holds these bytes unchanged.
"""
