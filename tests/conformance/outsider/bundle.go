package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	tlogproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

type bundle struct {
	Format string `json:"format"`
	Record string `json:"record"`
	Proof  string `json:"proof"`
}

// verifyBundle verifies a proof bundle; with a directory it also finds there the same proof, made by other code.
func verifyBundle(o options) (any, error) {
	data, err := os.ReadFile(o.file)
	if err != nil {
		return nil, err
	}
	var b bundle
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&b); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if b.Format != "quorate.dev/entry-proof/v1" {
		return nil, fmt.Errorf("bundle: format %q", b.Format)
	}
	record, err := base64.StdEncoding.Strict().DecodeString(b.Record)
	if err != nil {
		return nil, fmt.Errorf("bundle: record: %w", err)
	}
	var path tlogproof.TLogProof
	if err := path.Unmarshal([]byte(b.Proof)); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if !bytes.Equal(path.Marshal(), []byte(b.Proof)) {
		return nil, fmt.Errorf("bundle: the public package writes this proof otherwise")
	}
	head, err := open(path.Checkpoint, o)
	if err != nil {
		return nil, err
	}
	found, err := startAt(record, path.Index)
	if err != nil {
		return nil, err
	}
	if err := found.next(head.Origin, record); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, hash := range path.Hashes {
		hashes = append(hashes, hash[:])
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(record)
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, path.Index, head.Size, leaf, hashes, head.Hash); err != nil {
		return nil, fmt.Errorf("merkle: %w", err)
	}
	if o.dir != "" {
		if err := sameProof(o.dir, head, path); err != nil {
			return nil, err
		}
	}
	return map[string]any{
		"origin": head.Origin, "size": head.Size, "index": path.Index, "cosigners": head.Cosigners,
		"entry_id": found.entryID,
	}, nil
}

func sameProof(dir string, head *opened, path tlogproof.TLogProof) error {
	reader := tlog.TileHashReader(headTree(head), tileReader{filepath.Clean(dir)})
	own, err := tlog.ProveRecord(int64(head.Size), int64(path.Index), reader)
	if err != nil {
		return fmt.Errorf("merkle: %w", err)
	}
	if len(own) != len(path.Hashes) {
		return fmt.Errorf("merkle: the tiles give a path of %d hashes, the bundle has %d", len(own), len(path.Hashes))
	}
	for at, hash := range own {
		if hash != tlog.Hash(path.Hashes[at]) {
			return fmt.Errorf("merkle: hash %d of the path is not what the tiles give", at)
		}
	}
	return nil
}
