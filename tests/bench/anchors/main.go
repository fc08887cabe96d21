// Anchors of `make bench-audit`: what users pick today beside Postgres, driven with the same payload and callers.
//
//	go run . -system immudb|immudb-server|tessera|tessera-published -callers 64 -seconds 8 -dir DIR
//
// One JSON line in the benchmark's format. Every entry is durable (fsync) before it counts.
package main

import (
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

// open starts a system below dir for so many callers.
type open func(ctx context.Context, dir string, callers int) (add, func(), error)

var systems = map[string]open{
	"immudb":            openImmudb,
	"immudb-server":     openImmudbServer,
	"tessera":           openTesseraIndexed,
	"tessera-published": openTesseraPublished,
}

func main() {
	system := flag.String("system", "tessera", "immudb, immudb-server, tessera or tessera-published")
	callers := flag.Int("callers", 64, "concurrent callers, each waiting for its entry")
	seconds := flag.Float64("seconds", 8, "measured time, after one second that is not")
	payload := flag.Int("payload", 500, "bytes of an entry")
	dir := flag.String("dir", "", "empty directory on the disk to measure; else a temporary one")
	flag.Parse()
	if err := run(*system, *callers, *payload, *dir, time.Duration(*seconds*float64(time.Second))); err != nil {
		log.Fatal(err)
	}
}

func run(system string, callers, payload int, dir string, measured time.Duration) error {
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
	append, stop, err := start(ctx, dir, callers)
	if err != nil {
		return err
	}
	defer stop()
	taken, err := drive(ctx, append, callers, payload, measured)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(figures(system, callers, payload, measured, taken))
}

// drive runs the callers and returns the latencies of the entries that ended within the measured time.
func drive(ctx context.Context, append add, callers, payload int, measured time.Duration) ([]time.Duration, error) {
	begin := time.Now().Add(time.Second)
	end := begin.Add(measured)
	results := make([][]time.Duration, callers)
	failures := make([]error, callers)
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() { results[caller], failures[caller] = one(ctx, append, caller, payload, begin, end) })
	}
	group.Wait()
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(results...), nil
}

func one(ctx context.Context, append_ add, caller, payload int, begin, end time.Time) ([]time.Duration, error) {
	var taken []time.Duration
	data := make([]byte, payload)
	rand.Read(data)
	for number := 0; ; number++ {
		copy(data, fmt.Sprintf("%08d-%08d", caller, number))
		before := time.Now()
		if before.After(end) {
			return taken, nil
		}
		if err := append_(ctx, caller, number, slices.Clone(data)); err != nil {
			return nil, err
		}
		if after := time.Now(); before.After(begin) && after.Before(end) {
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
