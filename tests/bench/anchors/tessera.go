package main

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// openTesseraIndexed returns when an entry has its durable index; the checkpoint that covers it comes later.
func openTesseraIndexed(ctx context.Context, dir string, wanted settings) (add, func(), error) {
	appender, _, stop, err := openTessera(ctx, dir, wanted)
	if err != nil {
		return nil, nil, err
	}
	append := func(ctx context.Context, _, _ int, payload []byte) error {
		_, err := appender.Add(ctx, tessera.NewEntry(payload))()
		return err
	}
	return append, stop, nil
}

// openTesseraPublished returns when a checkpoint that covers the entry is published.
func openTesseraPublished(ctx context.Context, dir string, wanted settings) (add, func(), error) {
	appender, reader, stop, err := openTessera(ctx, dir, wanted)
	if err != nil {
		return nil, nil, err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, time.Millisecond)
	append := func(ctx context.Context, _, _ int, payload []byte) error {
		_, _, err := awaiter.Await(ctx, appender.Add(ctx, tessera.NewEntry(payload)))
		return err
	}
	return append, stop, nil
}

// openTessera starts a log on files, without antispam.
func openTessera(ctx context.Context, dir string, wanted settings) (*tessera.Appender, tessera.LogReader, func(), error) {
	secret, _, err := note.GenerateKey(rand.Reader, "anchor.example/log")
	if err != nil {
		return nil, nil, nil, err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, nil, nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return nil, nil, nil, err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(uint(wanted.batch), wanted.wait).
		WithCheckpointInterval(100 * time.Millisecond) // The shortest that the driver takes.
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return nil, nil, nil, err
	}
	return appender, reader, func() { shutdown(context.Background()) }, nil
}
