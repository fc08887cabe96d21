// Anchors of `make bench-anchors`: what users pick today beside Postgres, driven with the same payload and callers.
//
//	go run . -system immudb|immudb-server|immudb-verified|tessera|tessera-published -callers 64 -seconds 8 -dir DIR
//
// Starts the system once. Then each line on the standard input is a round, and answered by one line of JSON. Every entry
// is durable (fsync) before it counts.
package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"sync"
	"time"
)

// add appends one entry and returns when it is durable, and published where the system says so.
type add func(ctx context.Context, caller, number int, payload []byte) error

// settings are what a system is started with: as many callers, and for how long it waits for further entries to write
// them together, in batches of that many. In immudb these are the sync frequency and the bulk of the index.
type settings struct {
	callers, batch int
	wait           time.Duration
}

// open starts a system below dir.
type open func(ctx context.Context, dir string, wanted settings) (add, func(), error)

var systems = map[string]open{
	"immudb":            openImmudb,
	"immudb-server":     openImmudbServer,
	"immudb-verified":   openImmudbVerified,
	"tessera":           openTesseraIndexed,
	"tessera-published": openTesseraPublished,
}

func main() {
	system := flag.String("system", "tessera", "immudb, immudb-server, immudb-verified, tessera or tessera-published")
	callers := flag.Int("callers", 64, "concurrent callers, each waiting for its entry")
	batch := flag.Int("batch", 0, "entries of a batch; 0: as many as there are callers")
	wait := flag.Duration("wait", 0, "how long further entries are waited for")
	seconds := flag.Float64("seconds", 8, "measured time, after half a second that is not")
	payload := flag.Int("payload", 500, "bytes of an entry")
	dir := flag.String("dir", "", "empty directory on the disk to measure; else a temporary one")
	flag.Parse()
	wanted := settings{callers: *callers, batch: cmp.Or(*batch, *callers), wait: *wait}
	if err := run(*system, wanted, *payload, *dir, time.Duration(*seconds*float64(time.Second))); err != nil {
		log.Fatal(err)
	}
}

func run(system string, wanted settings, payload int, dir string, measured time.Duration) error {
	start, known := systems[system]
	if !known {
		return fmt.Errorf("unknown system %q", system)
	}
	if dir == "" {
		made, err := os.MkdirTemp("", "anchor")
		if err != nil {
			return err
		}
		defer os.RemoveAll(made)
		dir = made
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	append, stop, err := start(ctx, dir, wanted)
	if err != nil {
		return err
	}
	defer stop()
	rounds := bufio.NewScanner(os.Stdin)
	for first := 0; rounds.Scan(); first += 1_000_000 { // No key is used twice.
		taken, err := drive(ctx, append, first, wanted.callers, payload, measured)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(figures(system, wanted.callers, payload, measured, taken)); err != nil {
			return err
		}
	}
	return rounds.Err()
}

// drive runs the callers and returns the latencies of the entries that ended within the measured time.
func drive(ctx context.Context, append add, first, callers, payload int, measured time.Duration) ([]time.Duration, error) {
	begin := time.Now().Add(time.Second / 2)
	end := begin.Add(measured)
	results := make([][]time.Duration, callers)
	failures := make([]error, callers)
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() { results[caller], failures[caller] = one(ctx, append, caller, first, payload, begin, end) })
	}
	group.Wait()
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(results...), nil
}

func one(ctx context.Context, append_ add, caller, first, payload int, begin, end time.Time) ([]time.Duration, error) {
	var taken []time.Duration
	data := make([]byte, payload)
	rand.Read(data)
	for number := first; ; number++ {
		copy(data, fmt.Sprintf("%08d-%08d", caller, number))
		before := time.Now()
		if before.After(end) {
			return taken, nil
		}
		if err := append_(ctx, caller, number, slices.Clone(data)); err != nil {
			return nil, err
		}
		if after := time.Now(); after.After(begin) && after.Before(end) {
			taken = append(taken, after.Sub(before))
		}
	}
}

func figures(system string, callers, payload int, measured time.Duration, taken []time.Duration) map[string]any {
	slices.Sort(taken)
	at := func(share float64) float64 {
		if len(taken) == 0 {
			return 0
		}
		return float64(taken[min(int(share*float64(len(taken))), len(taken)-1)].Microseconds()) / 1000
	}
	return map[string]any{
		"figure": "anchor " + system, "callers": callers, "payload": payload, "entries": len(taken),
		"perSecond": float64(int(float64(len(taken))/measured.Seconds()*10)) / 10,
		"p50Ms":     at(0.5), "p99Ms": at(0.99), "fsync": true,
	}
}
