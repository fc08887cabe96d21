package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
)

// What follows was written from docs/audit-format.md alone: "Content", "Record", "Order and time".

const (
	contentTag = "loa-commons:audit:QuorateEntry:1.0.0"
	chainTag   = "quorate.dev/chain/v1\x00"
	maxContent = 16384
	maxRecord  = 65535
)

type record struct {
	chain    string
	epoch    uint32
	sequence uint64
	sealed   int64
	previous []byte
	hash     []byte
	content  []byte
}

func parseRecord(data []byte) (*record, error) {
	if len(data) < 3 || len(data) > maxRecord {
		return nil, fmt.Errorf("record: it has %d bytes", len(data))
	}
	if data[0] != 1 {
		return nil, fmt.Errorf("record: version %d", data[0])
	}
	length := int(binary.BigEndian.Uint16(data[1:]))
	if len(data) < 87+length {
		return nil, fmt.Errorf("record: its header is cut short")
	}
	rest := data[3+length:]
	return &record{
		chain:    string(data[3 : 3+length]),
		epoch:    binary.BigEndian.Uint32(rest),
		sequence: binary.BigEndian.Uint64(rest[4:]),
		sealed:   int64(binary.BigEndian.Uint64(rest[12:])),
		previous: rest[20:52],
		hash:     rest[52:84],
		content:  rest[84:],
	}, nil
}

// verifier follows a chain; its zero value stands before record 0.
type verifier struct {
	sequence uint64
	epoch    uint32
	sealed   int64
	chain    []byte
	entryID  string
	begun    bool
	inside   bool // the next record's predecessor is not known
}

// startAt stands before a record inside a chain, whose predecessor is not there to be looked at.
func startAt(data []byte, sequence uint64) (*verifier, error) {
	r, err := parseRecord(data)
	if err != nil {
		return nil, err
	}
	if sequence == 0 {
		return &verifier{}, nil
	}
	return &verifier{sequence: sequence, sealed: math.MinInt64, chain: r.previous, begun: true, inside: true}, nil
}

func (v *verifier) next(origin string, data []byte) error {
	r, err := parseRecord(data)
	if err != nil {
		return err
	}
	if !v.begun {
		v.chain, v.sealed, v.begun = make([]byte, 32), math.MinInt64, true
	}
	fault := func(phase, text string, args ...any) error {
		return fmt.Errorf("%s: entry %d: %s", phase, v.sequence, fmt.Sprintf(text, args...))
	}
	switch {
	case r.chain != origin:
		return fault("record", "it belongs to chain %q", r.chain)
	case r.sequence != v.sequence:
		return fault("record", "it says sequence %d", r.sequence)
	case r.sealed < v.sealed:
		return fault("record", "the sealed time decreases")
	}
	sum := sha256.Sum256(append([]byte(contentTag), r.content...))
	if !bytes.Equal(sum[:], r.hash) {
		return fault("content", "entry_hash is not that of the content")
	}
	entry, err := checkContent(r.content)
	if err != nil {
		return fault("content", "%v", err)
	}
	resumed := entry["event_type"] == "system.quarantine.resumed"
	if grows := r.epoch == v.epoch+1; !v.inside && (resumed != grows || !grows && r.epoch != v.epoch) {
		return fault("record", "epoch %d cannot follow epoch %d here", r.epoch, v.epoch)
	}
	if !bytes.Equal(r.previous, v.chain) {
		return fault("chain", "it does not follow from the record before")
	}
	leaf := sha256.Sum256(append([]byte{0}, data...))
	link := sha256.Sum256(append(append([]byte(chainTag), v.chain...), leaf[:]...))
	v.chain, v.sealed, v.epoch, v.sequence = link[:], r.sealed, r.epoch, v.sequence+1
	v.entryID, v.inside = entry["entry_id"].(string), false
	return nil
}

var (
	eventType = regexp.MustCompile(`^[a-z]+\.[a-z_]+\.[a-z_]+$`)
	phase     = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*$`)
	digest    = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	stamp     = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`)
)

// checkContent checks the form of a content and the rules of the page's table.
func checkContent(content []byte) (map[string]any, error) {
	if len(content) > maxContent {
		return nil, fmt.Errorf("the content has %d bytes", len(content))
	}
	value, err := parseCanonical(content)
	if err != nil {
		return nil, err
	}
	entry, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the content is not an object")
	}
	for name := range entry {
		switch name {
		case "entry_id", "timestamp", "event_type", "actor_id", "payload":
		default:
			return nil, fmt.Errorf("unknown member %q", name)
		}
	}
	if actor, there := entry["actor_id"]; there && text(actor) == "" {
		return nil, fmt.Errorf("actor_id is empty or no string")
	}
	if !eventType.MatchString(text(entry["event_type"])) {
		return nil, fmt.Errorf("event_type %v", entry["event_type"])
	}
	if _, err := time.Parse(time.RFC3339Nano, text(entry["timestamp"])); err != nil || !stamp.MatchString(text(entry["timestamp"])) {
		return nil, fmt.Errorf("timestamp %v", entry["timestamp"])
	}
	payload, ok := entry["payload"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("payload is not an object")
	}
	if err := checkPayload(payload); err != nil {
		return nil, err
	}
	if want := entryID(payload); text(entry["entry_id"]) != want {
		return nil, fmt.Errorf("entry_id %v does not follow from the payload, which gives %s", entry["entry_id"], want)
	}
	return entry, nil
}

func checkPayload(payload map[string]any) error {
	subject, ok := payload["subject"].(map[string]any)
	if !ok || text(subject["key"]) == "" || text(subject["kind"]) == "" || text(subject["name"]) == "" {
		return fmt.Errorf("payload.subject lacks key, kind or name")
	}
	tether, ok := payload["tether"].(map[string]any)
	if !ok || len(tether) != 3 || text(tether["contractVersion"]) == "" || !phase.MatchString(text(tether["phaseId"])) {
		return fmt.Errorf("payload.tether")
	}
	clauses, ok := tether["clauses"].([]any)
	if !ok {
		return fmt.Errorf("payload.tether.clauses")
	}
	for _, clause := range clauses {
		if text(clause) == "" {
			return fmt.Errorf("payload.tether.clauses")
		}
	}
	about, ok := payload["about"].([]any)
	if !ok {
		return fmt.Errorf("payload.about")
	}
	for at, item := range about {
		if !digest.MatchString(text(item)) || at > 0 && text(about[at-1]) >= text(item) {
			return fmt.Errorf("payload.about")
		}
	}
	return nil
}

func text(value any) string {
	found, _ := value.(string)
	return found
}

// entryID derives the id: UUIDv5 in the page's namespace N.
func entryID(payload map[string]any) string {
	name := text(payload["subject"].(map[string]any)["key"]) + "/" + text(payload["previous"])
	if captured, ok := payload["captured"].(map[string]any); ok {
		name = fmt.Sprintf("%s/%v", text(captured["source"]), captured["sourceSeq"])
	}
	namespace, _ := hex.DecodeString(strings.ReplaceAll("165a7ecf-a77e-5f93-8e3b-6387bb7eda06", "-", ""))
	return uuid5(namespace, name)
}
