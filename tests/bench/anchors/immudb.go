package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/codenotary/immudb/embedded/logger"
	"github.com/codenotary/immudb/embedded/store"
	"github.com/codenotary/immudb/pkg/api/schema"
	"github.com/codenotary/immudb/pkg/client"
	"github.com/codenotary/immudb/pkg/server"
)

// openImmudb is immudb embedded in the process, synced: one key and value per transaction, as one audit entry is.
func openImmudb(_ context.Context, dir string, wanted settings) (add, func(), error) {
	options := store.DefaultOptions().
		WithSynced(true).
		WithSyncFrequency(wanted.wait).
		WithMaxConcurrency(wanted.callers + 1).
		WithIndexOptions(store.DefaultIndexOptions().WithMaxBulkSize(wanted.batch).WithBulkPreparationTimeout(wanted.wait)).
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
		if err := tx.Set(key(caller, number), nil, payload); err != nil {
			return err
		}
		_, err = tx.Commit(ctx)
		return err
	}
	return append, func() { opened.Close() }, nil
}

// openImmudbServer is immudb as it is run: a server (here in the same process), one session for each caller.
func openImmudbServer(ctx context.Context, dir string, wanted settings) (add, func(), error) {
	sessions, stop, err := openSessions(ctx, dir, wanted)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, caller, number int, payload []byte) error {
		_, err := sessions[caller].Set(ctx, key(caller, number), payload)
		return err
	}, stop, nil
}

// openImmudbVerified is the same with verified writes: every caller checks the proof of its entry and keeps the state.
func openImmudbVerified(ctx context.Context, dir string, wanted settings) (add, func(), error) {
	sessions, stop, err := openSessions(ctx, dir, wanted)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, caller, number int, payload []byte) error {
		_, err := sessions[caller].VerifiedSet(ctx, key(caller, number), payload)
		return err
	}, stop, nil
}

func key(caller, number int) []byte {
	return fmt.Appendf(nil, "%08d-%08d", caller, number)
}

// openSessions starts a server and opens a session for each caller on a database of its own.
//
// The default database takes 30 transactions at once and refuses further ones; a created one takes what it is told to.
func openSessions(ctx context.Context, dir string, wanted settings) ([]client.ImmuClient, func(), error) {
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
	port := listener.Addr().(*net.TCPAddr).Port
	first, err := openSession(ctx, filepath.Join(dir, "first"), port, "defaultdb")
	if err != nil {
		return nil, nil, err
	}
	_, err = first.CreateDatabaseV2(ctx, "audit", &schema.DatabaseNullableSettings{
		MaxConcurrency: &schema.NullableUint32{Value: uint32(wanted.callers + 1)},
		SyncFrequency:  &schema.NullableMilliseconds{Value: wanted.wait.Milliseconds()},
		IndexSettings: &schema.IndexNullableSettings{
			MaxBulkSize:            &schema.NullableUint32{Value: uint32(wanted.batch)},
			BulkPreparationTimeout: &schema.NullableMilliseconds{Value: wanted.wait.Milliseconds()},
		},
	})
	if err != nil {
		return nil, nil, err
	}
	if err := first.CloseSession(ctx); err != nil { // A server takes 100 sessions.
		return nil, nil, err
	}
	sessions := []client.ImmuClient{}
	for number := range wanted.callers {
		session, err := openSession(ctx, filepath.Join(dir, fmt.Sprintf("client-%d", number)), port, "audit")
		if err != nil {
			return nil, nil, err
		}
		sessions = append(sessions, session)
	}
	return sessions, func() {
		for _, session := range sessions {
			session.CloseSession(context.Background())
		}
		running.Stop()
	}, nil
}

// openSession logs in and keeps the caller's state below dir; it waits for the server to listen.
func openSession(ctx context.Context, dir string, port int, database string) (client.ImmuClient, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	options := client.DefaultOptions().WithAddress("127.0.0.1").WithPort(port).WithDir(dir).WithDisableIdentityCheck(true)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		session := client.NewClient().WithOptions(options)
		err := session.OpenSession(ctx, []byte("immudb"), []byte("immudb"), database)
		if err == nil || time.Now().After(deadline) || !strings.Contains(err.Error(), "connection") {
			return session, err
		}
	}
}
