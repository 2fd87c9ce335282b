// Package roster reads and writes TRACKER_INFO, the list of a network's
// trackers. Trackers and clients begin with it; it is whom they trust.
// It opens no connection and knows nothing of keys.
package roster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
)

// MaxSize bounds the file, in bytes: some thousand trackers, far more than a
// network has, and little enough that a wrong path is noticed at once.
const MaxSize = 1 << 20

// Entry is one tracker of the list.
type Entry struct {
	Number int          // counted from 1
	Line   int          // in the file
	Text   string       // as it stands there
	Addr   ma.Multiaddr // TCP, without /p2p
	ID     peer.ID      // empty for a bare IP:PORT
}

// Addrs returns the addresses to dial: TCP, and QUIC on the same port of UDP.
// An Addr that is not TCP, as a simulated network has, is returned alone.
func (e Entry) Addrs() []ma.Multiaddr {
	if e.Addr == nil {
		return nil
	}
	if isHostTCP(e.Addr) {
		if twin, err := quic(e.Addr); err == nil {
			return []ma.Multiaddr{e.Addr, twin}
		}
	}
	return []ma.Multiaddr{e.Addr}
}

// String returns the entry with its id, as Format does, or the bare address.
func (e Entry) String() string {
	switch {
	case e.Addr == nil:
		return ""
	case e.ID == "":
		return hostPort(e.Addr)
	default:
		return Format(e.Addr, e.ID)
	}
}

// Read parses the file: one full multiaddr or bare IP:PORT a line; '#' comments
// and blank lines are skipped. Errors: E_CONFIG naming file, line and fault;
// E_NOT_FOUND. An empty list, and an address or id that stands twice, are E_CONFIG.
func Read(path string) ([]Entry, error) {
	content, err := ReadContent(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, content)
}

// ReadContent returns what is in the file, for Parse and Fill. Errors:
// E_NOT_FOUND; E_CONFIG if it is not a readable file of at most MaxSize bytes.
func ReadContent(path string) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, protocol.Errorf(protocol.CodeNotFound, "the tracker list %s does not exist; make one with \"p2pshare tracker init\", or get it from whoever runs the trackers", protocol.Quote(path))
	case err != nil:
		return nil, protocol.Errorf(protocol.CodeConfig, "the tracker list cannot be read: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeConfig, "the tracker list cannot be read: %w", err)
	}
	if len(content) > MaxSize {
		return nil, protocol.Errorf(protocol.CodeConfig, "%s is larger than a tracker list may be (%d bytes)", protocol.Quote(path), MaxSize)
	}
	return content, nil
}

// Parse is Read over the content; name is used in errors.
func Parse(name string, content []byte) ([]Entry, error) {
	var entries []Entry
	byAddr := make(map[string]Entry)
	byID := make(map[peer.ID]Entry)
	for i, raw := range splitLines(content) {
		text := raw.address()
		if text == "" {
			continue
		}
		fault := func(format string, args ...any) error {
			return protocol.Errorf(protocol.CodeConfig, "%s, line %d: %s", protocol.Printable(name), i+1, fmt.Sprintf(format, args...))
		}
		addr, id, err := ParseAddr(text)
		if err != nil {
			return nil, fault("%v", err)
		}
		if reason := undialable(addr); reason != "" {
			return nil, fault("%s %s", protocol.Quote(text), reason)
		}
		e := Entry{Number: len(entries) + 1, Line: i + 1, Text: text, Addr: addr, ID: id}
		if first, twice := byAddr[string(addr.Bytes())]; twice {
			return nil, fault("the address %s stands on line %d already", hostPort(addr), first.Line)
		}
		byAddr[string(addr.Bytes())] = e
		if id != "" {
			if first, twice := byID[id]; twice {
				return nil, fault("the id %s stands on line %d already", id, first.Line)
			}
			byID[id] = e
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, protocol.Errorf(protocol.CodeConfig, "%s lists no tracker: write one a line, as IP:PORT or as a multiaddr", protocol.Printable(name))
	}
	return entries, nil
}

// Fill returns the content with the bare lines of entries replaced by full
// ones; all other lines stay as they are. ids is keyed by Entry.Number; a
// number that is not that of a bare entry is E_CONFIG.
func Fill(content []byte, ids map[int]peer.ID) ([]byte, error) {
	var out strings.Builder
	out.Grow(len(content) + len(ids)*64)
	number, filled := 0, 0
	for _, raw := range splitLines(content) {
		text := raw.address()
		if text == "" {
			out.WriteString(raw.text + raw.end)
			continue
		}
		number++
		id, wanted := ids[number]
		if !wanted {
			out.WriteString(raw.text + raw.end)
			continue
		}
		addr, had, err := ParseAddr(text)
		if err != nil {
			return nil, err
		}
		if had != "" {
			return nil, protocol.Errorf(protocol.CodeConfig, "tracker %d has the id %s already", number, had)
		}
		filled++
		out.WriteString(strings.Replace(raw.text, text, Format(addr, id), 1) + raw.end)
	}
	if filled != len(ids) {
		return nil, protocol.Errorf(protocol.CodeConfig, "ids for %d trackers, but the list has only %d of them", len(ids), filled)
	}
	return []byte(out.String()), nil
}

// line is a line of the file: text without its end, and the end, which is
// empty for a last line without one.
type line struct{ text, end string }

// address returns what stands on the line aside from comment and space.
func (l line) address() string {
	text, _, _ := strings.Cut(l.text, "#")
	return strings.TrimSpace(text)
}

// splitLines cuts the content so that joining texts and ends gives it back,
// but for a byte order mark, which some editors put first.
func splitLines(content []byte) []line {
	rest := strings.TrimPrefix(string(content), "\ufeff")
	var lines []line
	for rest != "" {
		text, after, found := strings.Cut(rest, "\n")
		l := line{text: text}
		if found {
			l.end = "\n"
		}
		if trimmed, crlf := strings.CutSuffix(l.text, "\r"); crlf && found {
			l.text, l.end = trimmed, "\r\n"
		}
		lines = append(lines, l)
		rest = after
	}
	return lines
}
