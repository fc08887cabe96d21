package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/codenotary/immudb/embedded/logger"
	"github.com/codenotary/immudb/embedded/store"
	"github.com/codenotary/immudb/pkg/client"
	"github.com/codenotary/immudb/pkg/server"
)

// openImmudb is immudb embedded in the process, synced: one key and value per transaction, as one audit entry is.
func openImmudb(_ context.Context, dir string, callers int) (add, func(), error) {
	options := store.DefaultOptions().
		WithSynced(true).
		WithMaxConcurrency(callers + 1).
		WithLogger(logger.NewMemoryLoggerWithLevel(logger.LogError))
	opened, err := store.Open(dir, options)
	if err != nil {
		return nil, nil, err
	}
	append := func(ctx context.Context, caller, number int, payload []byte) error {
		tx, err := opened.NewWriteOnlyTx(ctx)
		if err != nil {
			return err
		}
		if err := tx.Set(fmt.Appendf(nil, "%08d-%08d", caller, number), nil, payload); err != nil {
			return err
		}
		_, err = tx.Commit(ctx)
		return err
	}
	return append, func() { opened.Close() }, nil
}

// openImmudbServer is immudb as it is run: a server (here in the same process), one session for each caller, verified writes.
func openImmudbServer(ctx context.Context, dir string, callers int) (add, func(), error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	options := server.DefaultOptions().WithDir(filepath.Join(dir, "server")).WithListener(listener).WithSynced(true).
		WithMetricsServer(false).WithWebServer(false).WithPgsqlServer(false)
	running := server.DefaultServer().WithOptions(options).WithLogger(logger.NewMemoryLoggerWithLevel(logger.LogError))
	if err := running.Initialize(); err != nil {
		return nil, nil, err
	}
	go running.Start()
	sessions := make([]client.ImmuClient, callers)
	for number := range sessions {
		state := filepath.Join(dir, fmt.Sprintf("client-%d", number))
		if err := os.MkdirAll(state, 0o700); err != nil {
			return nil, nil, err
		}
		here := client.DefaultOptions().WithAddress("127.0.0.1").WithPort(listener.Addr().(*net.TCPAddr).Port).
			WithDir(state).WithDisableIdentityCheck(true)
		sessions[number] = client.NewClient().WithOptions(here)
		if err := sessions[number].OpenSession(ctx, []byte("immudb"), []byte("immudb"), "defaultdb"); err != nil {
			return nil, nil, err
		}
	}
	var closed atomic.Bool
	append := func(ctx context.Context, caller, number int, payload []byte) error {
		for {
			_, err := sessions[caller].VerifiedSet(ctx, fmt.Appendf(nil, "%08d-%08d", caller, number), payload)
			// A server's database takes 30 transactions at once, as it is delivered, and refuses further ones.
			if err == nil || !strings.Contains(err.Error(), "max concurrency limit exceeded") {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}
	return append, func() {
		if closed.CompareAndSwap(false, true) {
			for _, session := range sessions {
				session.CloseSession(context.Background())
			}
			running.Stop()
		}
	}, nil
}
