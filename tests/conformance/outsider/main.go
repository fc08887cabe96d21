// Command outsider verifies what Quorate publishes with public modules alone, and its records by docs/audit-format.md.
//
// It shares no code with Quorate: signed notes are read by golang.org/x/mod/sumdb/note, cosignatures, checkpoints and
// tlog-proofs by github.com/transparency-dev/formats, trees and proofs by github.com/transparency-dev/merkle and by
// golang.org/x/mod/sumdb/tlog. It prints what it found as JSON, or one sentence on standard error and exit code 1.
//
//	outsider directory -dir DIR -log VKEY [-witness VKEY]... [-need N] [-first N] [-end N]
//	outsider bundle -file FILE -log VKEY [-witness VKEY]... [-need N] [-dir DIR]
//	outsider consistency -old FILE -new FILE -proof FILE -log VKEY
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

type keys []string

func (k *keys) String() string     { return strings.Join(*k, " ") }
func (k *keys) Set(s string) error { *k = append(*k, s); return nil }

type options struct {
	dir, file, old, new, proof string
	log, witnesses             keys
	need                       int
	first, end                 uint64
}

func main() {
	found, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	if err := json.NewEncoder(out).Encode(found); err != nil {
		panic(err)
	}
}

func run(args []string) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("outsider directory|bundle|consistency")
	}
	var o options
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&o.dir, "dir", "", "directory of one chain")
	flags.StringVar(&o.file, "file", "", "proof bundle")
	flags.StringVar(&o.old, "old", "", "older checkpoint")
	flags.StringVar(&o.new, "new", "", "newer checkpoint")
	flags.StringVar(&o.proof, "proof", "", "consistency proof, a hash in base64 on each line")
	flags.Var(&o.log, "log", "verifier key of the log")
	flags.Var(&o.witnesses, "witness", "verifier key of a witness")
	flags.IntVar(&o.need, "need", 0, "how many witnesses must have cosigned")
	flags.Uint64Var(&o.first, "first", 0, "first entry that the directory holds")
	flags.Uint64Var(&o.end, "end", 0, "the entry behind the last one that it holds, if that is not the whole log")
	if err := flags.Parse(args[1:]); err != nil {
		return nil, err
	}
	switch args[0] {
	case "directory":
		return verifyDirectory(o)
	case "bundle":
		return verifyBundle(o)
	case "consistency":
		return verifyConsistency(o)
	}
	return nil, fmt.Errorf("unknown command %q", args[0])
}

func verifyConsistency(o options) (any, error) {
	older, err := openFile(o.old, o)
	if err != nil {
		return nil, fmt.Errorf("old checkpoint: %w", err)
	}
	newer, err := openFile(o.new, o)
	if err != nil {
		return nil, fmt.Errorf("new checkpoint: %w", err)
	}
	text, err := os.ReadFile(o.proof)
	if err != nil {
		return nil, err
	}
	var path [][]byte
	for _, line := range strings.Fields(string(text)) {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return nil, err
		}
		path = append(path, hash)
	}
	err = proof.VerifyConsistency(rfc6962.DefaultHasher, older.Size, newer.Size, path, older.Hash, newer.Hash)
	return map[string]any{"old": older.Size, "new": newer.Size}, err
}

func openFile(name string, o options) (*opened, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return open(data, o)
}

// unverified is what note.Open says of a note that no known key signed.
type unverified = *note.UnverifiedNoteError
