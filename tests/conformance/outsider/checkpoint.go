package main

import (
	"errors"
	"fmt"

	"github.com/transparency-dev/formats/log"
	cosigned "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

type opened struct {
	log.Checkpoint
	Cosigners []string
}

// open verifies a signed note: a known log key signed it, and enough of the known witnesses cosigned it.
func open(data []byte, o options) (*opened, error) {
	var verifiers []note.Verifier
	logs := map[string]bool{}
	for _, text := range o.log {
		verifier, err := note.NewVerifier(text)
		if err != nil {
			return nil, fmt.Errorf("log key %q: %w", text, err)
		}
		verifiers = append(verifiers, verifier)
		logs[verifier.Name()] = true
	}
	for _, text := range o.witnesses {
		verifier, err := cosigned.NewVerifierForCosignatureV1(text)
		if err != nil {
			return nil, fmt.Errorf("witness key %q: %w", text, err)
		}
		verifiers = append(verifiers, verifier)
	}
	found, err := note.Open(data, note.VerifierList(verifiers...))
	if err != nil {
		var nobody unverified
		if errors.As(err, &nobody) {
			return nil, errors.New("checkpoint: no known key signed it")
		}
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	var result opened
	rest, err := result.Unmarshal([]byte(found.Text))
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if len(rest) > 0 {
		return nil, errors.New("checkpoint: it has extension lines")
	}
	signed := false
	for _, signature := range found.Sigs {
		if logs[signature.Name] && signature.Name == result.Origin {
			signed = true
		} else if _, err := cosigned.CoSigV1Timestamp(signature); err == nil {
			result.Cosigners = append(result.Cosigners, signature.Name)
		}
	}
	if !signed {
		return nil, fmt.Errorf("checkpoint: no key of log %q signed it", result.Origin)
	}
	if len(result.Cosigners) < o.need {
		return nil, fmt.Errorf("checkpoint: %d witnesses cosigned it, not %d", len(result.Cosigners), o.need)
	}
	return &result, nil
}
