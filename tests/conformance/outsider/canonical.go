package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxInteger = 1<<53 - 1
	maxDepth   = 64
)

// parseCanonical parses restricted RFC 8785 JSON: the bytes must be exactly those of the canonical form.
func parseCanonical(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("the content is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	value, err := parseValue(decoder, 0)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("something follows the content")
	}
	var out strings.Builder
	write(&out, value)
	if out.String() != string(data) {
		return nil, errors.New("the content is not in canonical form")
	}
	return value, nil
}

func parseValue(decoder *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deep")
	}
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch found := token.(type) {
	case json.Number:
		number, err := strconv.ParseInt(found.String(), 10, 64)
		if err != nil || number > maxInteger || number < -maxInteger {
			return nil, fmt.Errorf("number %s", found)
		}
		return number, nil
	case json.Delim:
		if found == '[' {
			list := []any{}
			for decoder.More() {
				item, err := parseValue(decoder, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, item)
			}
			_, err := decoder.Token()
			return list, err
		}
		object := map[string]any{}
		for decoder.More() {
			name, err := decoder.Token()
			if err != nil {
				return nil, err
			}
			item, err := parseValue(decoder, depth+1)
			if err != nil {
				return nil, err
			}
			if _, twice := object[name.(string)]; twice {
				return nil, fmt.Errorf("name %q twice", name)
			}
			object[name.(string)] = item
		}
		_, err := decoder.Token()
		return object, err
	}
	return token, nil
}

func write(out *strings.Builder, value any) {
	switch found := value.(type) {
	case nil:
		out.WriteString("null")
	case bool:
		out.WriteString(strconv.FormatBool(found))
	case int64:
		out.WriteString(strconv.FormatInt(found, 10))
	case string:
		writeString(out, found)
	case []any:
		out.WriteByte('[')
		for at, item := range found {
			if at > 0 {
				out.WriteByte(',')
			}
			write(out, item)
		}
		out.WriteByte(']')
	case map[string]any:
		names := make([]string, 0, len(found))
		for name := range found {
			names = append(names, name)
		}
		sort.Slice(names, func(a, b int) bool { return lessUTF16(names[a], names[b]) })
		out.WriteByte('{')
		for at, name := range names {
			if at > 0 {
				out.WriteByte(',')
			}
			writeString(out, name)
			out.WriteByte(':')
			write(out, found[name])
		}
		out.WriteByte('}')
	}
}

func lessUTF16(a, b string) bool {
	x, y := utf16.Encode([]rune(a)), utf16.Encode([]rune(b))
	for at := 0; at < len(x) && at < len(y); at++ {
		if x[at] != y[at] {
			return x[at] < y[at]
		}
	}
	return len(x) < len(y)
}

var short = map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

func writeString(out *strings.Builder, text string) {
	out.WriteByte('"')
	for _, r := range text {
		if escape, there := short[r]; there {
			out.WriteString(escape)
		} else if r < 0x20 {
			fmt.Fprintf(out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
}

func uuid5(namespace []byte, name string) string {
	sum := sha1.Sum(append(append([]byte{}, namespace...), name...))
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
