package trackers

import (
	"maps"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
)

// FuzzPins reads files of confirmed trackers that people have edited: E_STATE,
// or pins that the next confirmation adds to and changes nothing else of.
func FuzzPins(f *testing.F) {
	const id = "12D3KooWRBhwfeP2Y4TCx1SM6s9rUoHhR5STiCwxBhgFRcw3UERE"
	f.Add("", "192.0.2.1:5000")
	f.Add(pinHeader+"192.0.2.1:5000 "+id+"\n", "192.0.2.1:5000")
	f.Add("/dns4/tracker.example/tcp/5000 "+id+" # ours\r\n\n#", "[2001:db8::1]:5000")
	f.Add("a\tb  c "+id, "a b c")
	f.Add(id, "x")
	f.Add("192.0.2.1:5000 QmNotAnId\x00\x1b[2J", "x")
	f.Add("192.0.2.1:5000 /ip4/127.0.0.1/p2p/"+id+"\n192.0.2.1:5000 "+id, "x")
	added, err := peer.Decode(id)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content, address string) {
		defer frugal.Check(t)()
		before, err := parsePins("FILE", content)
		if err != nil {
			if protocol.CodeOf(err) != protocol.CodeState || before != nil {
				t.Fatalf("%q: %v, %v", content, before, err)
			}
			if said := err.Error(); said != protocol.Printable(said) {
				t.Fatalf("%q: the refusal says %q", content, said)
			}
			return
		}
		for a, p := range before {
			if a == "" || p.id.Validate() != nil || p.line < 1 {
				t.Fatalf("%q: %q has %+v", content, a, p)
			}
		}
		if clean, err := parsePins("", address+" "+id); err != nil || len(clean) != 1 || clean[address].line != 1 {
			return // no list of trackers has such an address
		}
		longer, line := withPin([]byte(content), address, added)
		after, err := parsePins("FILE", string(longer))
		if err != nil {
			t.Fatalf("%q and %q: %v", content, address, err)
		}
		if p := after[address]; p.id != added || p.line != line {
			t.Fatalf("%q and %q: %+v, want line %d", content, address, p, line)
		}
		delete(before, address)
		delete(after, address)
		if !maps.Equal(before, after) {
			t.Fatalf("%q and %q: %v became %v", content, address, before, after)
		}
	})
}
