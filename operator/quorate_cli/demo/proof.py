"""The last chapter: the log is re-derived from Postgres, and an alteration of one byte is found."""

from quorate_cli.demo.scene import Scene

COPY = "altered_copy"
CHAIN = "example-mesh/fleet"
# What the owner of the database can do, and nobody else: switch the triggers off, then write.
_ALTER = (
    "ALTER TABLE quorate.audit_entry DISABLE TRIGGER USER;"
    " UPDATE quorate.audit_entry SET record = set_byte(record, 400, get_byte(record, 400) # 1)"
    " WHERE chain_id = '{chain}' AND seq = {sequence}"
)


def prove(scene: Scene) -> None:
    """`audit verify` says what it checked and anchored; in an altered copy it names the entry."""
    stage = scene.stage
    stage.say(
        """Each entry is chained to the one before and is a leaf of a Merkle tree, whose root is signed in
        checkpoints. One that was kept elsewhere, here in a file, anchors the whole history before it:"""
    )
    stage.run(
        f"kubectl get ac {scene.checkpoint_name(CHAIN)} -o jsonpath='{{.status.note}}' > checkpoint.txt\n"
        "cat checkpoint.txt",
        said=[CHAIN],
        within=30,
    )
    stage.run(f"quorate audit verify --chain {CHAIN} --checkpoint checkpoint.txt", said=["INTACT", "anchored"])
    stage.run(f"quorate audit log --chain {CHAIN} --type governance", said=["governance.proposal.executed"])
    sequence = scene.sequence_of_vote("dave")
    stage.say(
        f"""Now a copy of the database, in which its owner changes one byte of entry {sequence}, Dave's vote. The
        triggers that forbid it are switched off first:"""
    )
    stage.run(f"createdb {COPY} && pg_dump quorate | psql -q -o /dev/null {COPY}", shown=False)
    stage.run(f'psql -q {COPY} -c "{_ALTER.format(chain=CHAIN, sequence=sequence)}"')
    stage.run(
        f'quorate audit verify --chain {CHAIN} --checkpoint checkpoint.txt \\\n  --dsn "postgresql:///{COPY}"',
        code=4,
        said=["TAMPERED", f"entry {sequence} ("],
    )
