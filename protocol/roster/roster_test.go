package roster_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

const (
	idA = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
	idB = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
)

func id(t testing.TB, s string) peer.ID {
	t.Helper()
	p, err := peer.Decode(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseAddr(t *testing.T) {
	tests := []struct {
		name, text, want, wantID string
	}{
		{"ip and port", "127.0.0.1:5000", "/ip4/127.0.0.1/tcp/5000", ""},
		{"with a space", "127.0.0.1 5000", "/ip4/127.0.0.1/tcp/5000", ""},
		{"with tabs", "127.0.0.1\t\t5000", "/ip4/127.0.0.1/tcp/5000", ""},
		{"ip 6", "[2001:db8::1]:5000", "/ip6/2001:db8::1/tcp/5000", ""},
		{"ip 6 with a space", "2001:db8::1 5000", "/ip6/2001:db8::1/tcp/5000", ""},
		{"ip 4 in ip 6", "[::ffff:192.0.2.1]:5000", "/ip4/192.0.2.1/tcp/5000", ""},
		{"to listen", "0.0.0.0:0", "/ip4/0.0.0.0/tcp/0", ""},
		{"multiaddr", "/ip4/192.0.2.1/tcp/5000", "/ip4/192.0.2.1/tcp/5000", ""},
		{"with id", "/ip4/192.0.2.1/tcp/5000/p2p/" + idA, "/ip4/192.0.2.1/tcp/5000", idA},
		{"host name", "/dns4/tracker.example.org/tcp/5000/p2p/" + idA, "/dns4/tracker.example.org/tcp/5000", idA},
		{"older word for p2p", "/ip4/192.0.2.1/tcp/5000/ipfs/" + idA, "/ip4/192.0.2.1/tcp/5000", idA},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr, got, err := roster.ParseAddr(tt.text)
			if err != nil {
				t.Fatalf("ParseAddr(%q): %v", tt.text, err)
			}
			if addr.String() != tt.want {
				t.Errorf("address %s, want %s", addr, tt.want)
			}
			var wantID peer.ID
			if tt.wantID != "" {
				wantID = id(t, tt.wantID)
			}
			if got != wantID {
				t.Errorf("id %s, want %s", got, wantID)
			}
		})
	}
}

func TestParseAddrRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "127.0.0.1", "127.0.0.1:", ":5000", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http",
		"127.0.0.1 5000 x", "5000 127.0.0.1", "300.0.0.1:1", "127.0.0.1:05000x", "2001:db8::1:5000", "[fe80::1%eth0]:5000",
		"localhost:5000", "tracker.example.org 5000", "/", "/ip4", "/ip4/127.0.0.1", "/ip4/127.0.0.1/tcp", "/ip4/127.0.0.1/tcp/99999",
		"/ip4/127.0.0.1/udp/5000/quic-v1", "/ip4/127.0.0.1/tcp/5000/ws", "/p2p/" + idA, "/ip4/127.0.0.1/tcp/5000/p2p/nonsense",
		"/ip4/127.0.0.1/tcp/5000/p2p/" + idA + "/p2p-circuit", "/ip4/127.0.0.1/tcp/5000/p2p/" + idA + "/p2p/" + idB,
		"/unix/tmp/x", "/tcp/5000/ip4/127.0.0.1", "127.0.0.1:5000\x1b[2J", "/ip4/\x1b[2J/tcp/1",
	} {
		_, _, err := roster.ParseAddr(text)
		if protocol.CodeOf(err) != protocol.CodeConfig {
			t.Errorf("ParseAddr(%q): got %v, want E_CONFIG", text, err)
			continue
		}
		if strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("ParseAddr(%q): the error carries an escape character", text)
		}
	}
}

func TestParse(t *testing.T) {
	content := "\ufeff# the network\r\n\r\n127.0.0.1:5000\r\n  /ip4/127.0.0.1/tcp/7000/p2p/" + idA + "  # second\r\n#127.0.0.1:1\r\n127.0.0.1 9000"
	got, err := roster.Parse("tracker_info.txt", []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		line        int
		text, whole string
		addrs       string
		hasID       bool
	}{
		{3, "127.0.0.1:5000", "127.0.0.1:5000", "/ip4/127.0.0.1/tcp/5000 /ip4/127.0.0.1/udp/5000/quic-v1", false},
		{4, "/ip4/127.0.0.1/tcp/7000/p2p/" + idA, "/ip4/127.0.0.1/tcp/7000/p2p/" + idA, "/ip4/127.0.0.1/tcp/7000 /ip4/127.0.0.1/udp/7000/quic-v1", true},
		{6, "127.0.0.1 9000", "127.0.0.1:9000", "/ip4/127.0.0.1/tcp/9000 /ip4/127.0.0.1/udp/9000/quic-v1", false},
	}
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i, w := range want {
		e := got[i]
		var addrs []string
		for _, a := range e.Addrs() {
			addrs = append(addrs, a.String())
		}
		if e.Number != i+1 || e.Line != w.line || e.Text != w.text || (e.ID != "") != w.hasID || e.String() != w.whole || strings.Join(addrs, " ") != w.addrs {
			t.Errorf("entry %d: got %+v, addresses %v; want %+v", i+1, e, addrs, w)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	full := "/ip4/127.0.0.1/tcp/%s/p2p/" + idA + "\n"
	tests := []struct{ name, content, want string }{
		{"empty", "", "lists no tracker"},
		{"comments only", "# nothing\n\n   \n", "lists no tracker"},
		{"broken line", "127.0.0.1:5000\nnonsense\n", "list, line 2:"},
		{"twice the address", "127.0.0.1:5000\n\n/ip4/127.0.0.1/tcp/5000\n", "list, line 3: the address 127.0.0.1:5000 stands on line 1 already"},
		{"twice the id", strings.ReplaceAll(full, "%s", "1") + strings.ReplaceAll(full, "%s", "2"), "list, line 2: the id " + idA + " stands on line 1 already"},
		{"no port", "127.0.0.1:0\n", "has no port"},
		{"every address", "0.0.0.0:5000\n", "no machine"},
		{"every address in ip 6", "[::]:5000\n", "no machine"},
		{"multicast", "224.0.0.1:5000\n", "no machine"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := roster.Parse("list", []byte(tt.content))
			if protocol.CodeOf(err) != protocol.CodeConfig || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want E_CONFIG with %q", err, tt.want)
			}
		})
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if err := os.WriteFile(good, []byte("127.0.0.1:5000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte("#\n"), roster.MaxSize), 0o600); err != nil {
		t.Fatal(err)
	}
	if entries, err := roster.Read(good); err != nil || len(entries) != 1 {
		t.Errorf("Read: got %v, %v", entries, err)
	}
	if _, err := roster.Read(filepath.Join(dir, "absent")); !errors.Is(err, protocol.ErrNotFound) {
		t.Errorf("absent: got %v, want E_NOT_FOUND", err)
	}
	for _, path := range []string{dir, big} {
		if _, err := roster.Read(path); protocol.CodeOf(err) != protocol.CodeConfig {
			t.Errorf("%s: got %v, want E_CONFIG", path, err)
		}
	}
}

func TestFill(t *testing.T) {
	content := "# network\r\n127.0.0.1:5000   # first\r\n\n/ip4/127.0.0.1/tcp/7000/p2p/" + idA + "\n127.0.0.1 9000"
	got, err := roster.Fill([]byte(content), map[int]peer.ID{1: id(t, idB)})
	if err != nil {
		t.Fatal(err)
	}
	want := "# network\r\n/ip4/127.0.0.1/tcp/5000/p2p/" + idB + "   # first\r\n\n/ip4/127.0.0.1/tcp/7000/p2p/" + idA + "\n127.0.0.1 9000"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, number := range []int{0, 2, 4} {
		if _, err := roster.Fill([]byte(content), map[int]peer.ID{number: id(t, idB)}); protocol.CodeOf(err) != protocol.CodeConfig {
			t.Errorf("an id for tracker %d: got %v, want E_CONFIG", number, err)
		}
	}
}

// FuzzParse checks that whatever parses can be written again with ids, reads
// back the same, and that nothing else fails otherwise than with E_CONFIG.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"127.0.0.1:5000\n127.0.0.1:7000\n", "# c\r\n/ip4/1.2.3.4/tcp/1/p2p/" + idA + "\r\n1.2.3.4 2", "[::1]:1", "/dns4/a.b/tcp/1",
		"/ip6/::1/tcp/1", "1.2.3.4:1#x\n#\n", "\ufeff\n1.2.3.4:1", "/dns/\u00e4/tcp/1\n", "a", "1.2.3.4:1\r", "/ip4/1.2.3.4/tcp/1/p2p",
	} {
		f.Add([]byte(seed))
	}
	only := id(f, idB)
	f.Fuzz(func(t *testing.T, content []byte) {
		defer frugal.Check(t)()
		entries, err := roster.Parse("list", content)
		if err != nil {
			if protocol.CodeOf(err) != protocol.CodeConfig {
				t.Fatalf("got %v, want E_CONFIG", err)
			}
			return
		}
		ids := make(map[int]peer.ID)
		for _, e := range entries {
			if len(e.Addrs()) != 2 {
				t.Fatalf("entry %+v has the addresses %v", e, e.Addrs())
			}
			if e.ID == only {
				return
			}
			if e.ID == "" && len(ids) == 0 {
				ids[e.Number] = only
			}
		}
		filled, err := roster.Fill(content, ids)
		if err != nil {
			t.Fatalf("Fill: %v", err)
		}
		again, err := roster.Parse("list", filled)
		if err != nil || len(again) != len(entries) {
			t.Fatalf("%d entries, %v after Fill; %d before", len(again), err, len(entries))
		}
		for i, e := range again {
			wantID := entries[i].ID
			if given, ok := ids[e.Number]; ok {
				wantID = given
			}
			if !e.Addr.Equal(entries[i].Addr) || e.ID != wantID || e.Line != entries[i].Line {
				t.Fatalf("entry %d: got %+v, want %+v", i+1, e, entries[i])
			}
		}
	})
}
