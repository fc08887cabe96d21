package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

const width = 256

// verifyDirectory re-derives a chain from its records: every record, every tile file, the signed root.
func verifyDirectory(o options) (any, error) {
	head, err := openFile(filepath.Join(o.dir, "checkpoint"), o)
	if err != nil {
		return nil, err
	}
	tiles := 0
	if o.first == 0 && o.end == 0 {
		if tiles, err = verifyEntries(o.dir, head); err != nil {
			return nil, err
		}
	} else if err = verifyRange(o.dir, head, o.first, o.end); err != nil {
		return nil, err
	}
	return map[string]any{
		"origin": head.Origin, "size": head.Size, "tiles": tiles, "cosigners": head.Cosigners,
	}, nil
}

func verifyEntries(dir string, head *opened) (int, error) {
	levels := map[uint64][][]byte{}
	var chain verifier
	tree := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for number := uint64(0); number*width < head.Size; number++ {
		records, err := readBundle(dir, number, head.Size)
		if err != nil {
			return 0, err
		}
		for _, record := range records {
			if err := chain.next(head.Origin, record); err != nil {
				return 0, err
			}
			leaf := rfc6962.DefaultHasher.HashLeaf(record)
			err := tree.Append(leaf, func(id compact.NodeID, hash []byte) {
				if id.Level%8 == 0 {
					levels[uint64(id.Level/8)] = append(levels[uint64(id.Level/8)], hash)
				}
			})
			if err != nil {
				return 0, err
			}
		}
	}
	root, err := tree.GetRootHash(nil)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(root, head.Hash) {
		return 0, fmt.Errorf("merkle: the records have another root than the checkpoint")
	}
	count := 0
	for level, hashes := range levels {
		for number := 0; number*width < len(hashes); number++ {
			part := hashes[number*width : min(len(hashes), (number+1)*width)]
			name := tilePath(fmt.Sprint(level), uint64(number), len(part))
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return 0, fmt.Errorf("merkle: %w", err)
			}
			if !bytes.Equal(data, bytes.Join(part, nil)) {
				return 0, fmt.Errorf("merkle: %s does not follow from the records", name)
			}
			count++
		}
	}
	return count, nothingElse(dir, levels, head.Size)
}

// nothingElse refuses full tiles beyond the checkpoint; partial ones of earlier checkpoints may stay.
func nothingElse(dir string, levels map[uint64][][]byte, size uint64) error {
	wanted := map[string]bool{}
	for level, hashes := range levels {
		for number := 0; (number+1)*width <= len(hashes); number++ {
			wanted[tilePath(fmt.Sprint(level), uint64(number), width)] = true
		}
	}
	for number := uint64(0); (number+1)*width <= size; number++ {
		wanted[tilePath("entries", number, width)] = true
	}
	return filepath.WalkDir(filepath.Join(dir, "tile"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, ".p/") {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil && !wanted[name] {
			return fmt.Errorf("merkle: %s is not of this tree", name)
		}
		return err
	})
}

// verifyRange verifies a directory of a part of the log: each record's place in the tree is proven by the tiles.
func verifyRange(dir string, head *opened, first, end uint64) error {
	if end == 0 {
		end = head.Size
	}
	reader := tlog.TileHashReader(headTree(head), tileReader{dir})
	var chain *verifier
	for number := first / width; number*width < end; number++ {
		records, err := readBundle(dir, number, head.Size)
		if err != nil {
			return err
		}
		for offset, record := range records {
			sequence := int64(number)*width + int64(offset)
			if chain == nil {
				if chain, err = startAt(record, uint64(sequence)); err != nil {
					return err
				}
			}
			if err := chain.next(head.Origin, record); err != nil {
				return err
			}
			path, err := tlog.ProveRecord(int64(head.Size), sequence, reader)
			if err != nil {
				return fmt.Errorf("merkle: %w", err)
			}
			err = tlog.CheckRecord(path, int64(head.Size), headTree(head).Hash, sequence, tlog.RecordHash(record))
			if err != nil {
				return fmt.Errorf("merkle: entry %d: %w", sequence, err)
			}
		}
	}
	return nil
}

func headTree(head *opened) tlog.Tree {
	tree := tlog.Tree{N: int64(head.Size)}
	copy(tree.Hash[:], head.Hash)
	return tree
}

func readBundle(dir string, number, size uint64) ([][]byte, error) {
	count := int(min(width, size-number*width))
	name := tilePath("entries", number, count)
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	var records [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("record: %s is cut short", name)
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		records, data = append(records, data[2:end]), data[end:]
	}
	if len(records) != count {
		return nil, fmt.Errorf("record: %s holds %d records, not %d", name, len(records), count)
	}
	return records, nil
}

func tilePath(level string, number uint64, count int) string {
	text := fmt.Sprintf("%03d", number%1000)
	for number >= 1000 {
		number /= 1000
		text = fmt.Sprintf("x%03d/%s", number%1000, text)
	}
	if count < width {
		text = fmt.Sprintf("%s.p/%d", text, count)
	}
	return "tile/" + level + "/" + text
}

// tileReader lets golang.org/x/mod/sumdb/tlog read the directory; it checks every tile against the root itself.
type tileReader struct{ dir string }

func (r tileReader) Height() int { return 8 }

func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(r.dir, path))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (r tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
