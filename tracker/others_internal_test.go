package tracker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

func entry(number int) roster.Entry {
	return roster.Entry{
		Number: number, ID: peer.ID(fmt.Sprint("id", number)),
		Addr: ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", 5000+number)),
	}
}

// What is told of another tracker as it comes, goes and is removed.
func TestOthersAreToldOf(t *testing.T) {
	const gone = replica.Standing(-1) // not of the list any more
	tests := []struct {
		name  string
		steps []replica.Standing
		want  string // what is told; ! for the operator, + for his relief
	}{
		{"comes", []replica.Standing{replica.There, replica.There}, "tracker connected"},
		{"is late", []replica.Standing{replica.Away, replica.There}, "tracker not reached, tracker connected"},
		{"goes and comes", []replica.Standing{replica.There, replica.Away, replica.Away, replica.There, replica.Away}, "tracker connected, !tracker lost, +tracker connected, !tracker lost"},
		{"is removed", []replica.Standing{replica.There, gone, gone}, "tracker connected"},
		{"is removed and back", []replica.Standing{replica.There, gone, replica.There}, "tracker connected, tracker connected"},
		{"refuses", []replica.Standing{replica.Refuses, replica.Refuses, replica.There}, "!tracker refuses, +tracker connected"},
		{"refuses and goes", []replica.Standing{replica.Refuses, replica.Away, replica.There}, "!tracker refuses, tracker not reached, +tracker connected"},
		{"foreign", []replica.Standing{replica.Foreign, replica.Foreign, replica.Waits, replica.There}, "!tracker of another network, tracker waits, +tracker connected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var o others
			var got []string
			for _, s := range tt.steps {
				list, now := []roster.Entry{entry(1), entry(2)}, []replica.Other{{ID: entry(2).ID, Standing: s}}
				if s == gone {
					list, now = list[:1], nil
				}
				for _, a := range o.look(list, now) {
					sign := map[bool]string{true: "!"}[a.Warn] + map[bool]string{true: "+"}[a.Mended]
					got = append(got, sign+a.What)
					if a.Object != "tracker 2 (127.0.0.1:5002)" || a.Peer != "" {
						t.Errorf("it is called %q, %q", a.Object, a.Peer)
					}
				}
			}
			if text := strings.Join(got, ", "); text != tt.want {
				t.Errorf("told: %s\nwant: %s", text, tt.want)
			}
		})
	}
}

// What a tracker without a network waits for: --new-network is named only where
// it cannot split a network that is there.
func TestWaitsFor(t *testing.T) {
	list := []roster.Entry{entry(1), entry(2), entry(3)}
	tests := []struct {
		name     string
		one, two replica.Standing
		marked   bool
		want     []string
		begin    bool
	}{
		{"nobody there", replica.Away, replica.Away, false, []string{"tracker 1 (127.0.0.1:5001) does not answer"}, true},
		{"nobody there, marked", replica.Away, replica.Away, true, []string{"tracker 2 (127.0.0.1:5002) does not answer"}, false},
		{"refused", replica.Refuses, replica.Away, false, []string{"tracker 1 (127.0.0.1:5001) does not know this one (send it a SIGHUP, or restart it"}, false},
		{"answered", replica.Away, replica.Waits, false, []string{"tracker 2 (127.0.0.1:5002) answers"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := waitsFor(list, []replica.Other{{ID: list[0].ID, Standing: tt.one}, {ID: list[1].ID, Standing: tt.two}}, tt.marked)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q does not say %q", got, want)
				}
			}
			if strings.Contains(got, "--new-network") != tt.begin {
				t.Errorf("%q: names --new-network: %v", got, !tt.begin)
			}
		})
	}
}

func TestMissingAndBehind(t *testing.T) {
	list, now := []roster.Entry{entry(1), entry(2)}, time.Now()
	others := []replica.Other{
		{ID: list[0].ID, Standing: replica.Foreign},
		{ID: list[1].ID, Standing: replica.There, InStep: now.Add(-20 * time.Second)},
	}
	if got := strings.Join(missing(list, others), ";"); !strings.HasPrefix(got, "tracker 1 (127.0.0.1:5001): it is part of another network") || !strings.Contains(got, "leave its key") {
		t.Errorf("missing: %s", got)
	}
	if got := strings.Join(behind(list, others, now), ";"); got != "tracker 2 (127.0.0.1:5002) for 20s" {
		t.Errorf("behind: %s", got)
	}
	if got := behind(list, others, now.Add(-10*time.Second)); got != nil {
		t.Errorf("between two rounds: %v", got)
	}
}
