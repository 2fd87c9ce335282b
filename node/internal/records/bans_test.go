package records_test

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestBansAreKeptByFileAndForgotten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := open(t, dir)
	now := time.Unix(1_000_000, 0).UTC()
	p, err := peer.Decode("12D3KooWGC6TvWhfajpgX6wvJHYYvKpDMXPb3ZnCZ6dMoaMtimQ5")
	check(t, err)
	a, b := protocol.FileID{1}, protocol.FileID{2}
	first := records.Ban{Peer: p, Bad: 1, Last: now, Until: now.Add(10 * time.Minute)}
	second := records.Ban{Peer: p, Bad: 2, Last: now, Until: now.Add(24 * time.Hour)}
	check(t, r.PutBan(a, first, now.Add(-24*time.Hour)))
	check(t, r.PutBan(a, second, now.Add(-24*time.Hour)))
	check(t, r.PutBan(b, first, now.Add(-24*time.Hour)))
	r = reopen(t, r, dir)
	got, err := r.Bans(a)
	same(t, "bans of a", got, err, []records.Ban{second})
	got, err = r.Bans(b)
	same(t, "bans of b", got, err, []records.Ban{first})
	got, err = r.Bans(protocol.FileID{3})
	same(t, "bans of another file", got, err, []records.Ban(nil))

	later := records.Ban{Peer: p, Bad: 1, Last: now.Add(48 * time.Hour), Until: now.Add(49 * time.Hour)}
	check(t, r.PutBan(b, later, now.Add(25*time.Hour)))
	got, err = r.Bans(a)
	same(t, "bans of a, a day later", got, err, []records.Ban(nil))
	got, err = r.Bans(b)
	same(t, "bans of b, a day later", got, err, []records.Ban{later})
}

func TestStopsUntilTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := open(t, dir)
	ada := protocol.UserID{1}
	s := share(ada, protocol.FileID{1})
	other := share(ada, protocol.FileID{2})
	check(t, r.PutShare(s))
	third := share(ada, protocol.FileID{3})
	check(t, r.PutShare(other))
	s.Withdrawn, third.Withdrawn = "gone", "gone"
	check(t, r.WithdrawShares(s, third))
	check(t, r.StopShare(records.Stop{User: ada, Group: other.Group, File: other.File}))
	r = reopen(t, r, dir)
	stops, err := r.Stops(ada)
	same(t, "stops", stops, err, []records.Stop{{ada, s.Group, s.File}, {ada, other.Group, other.File}, {ada, third.Group, third.File}})
	if shares, err := r.Shares(ada); err != nil || len(shares) != 2 || shares[0].Withdrawn != "gone" || shares[1].Withdrawn != "gone" {
		t.Errorf("shares %+v, %v", shares, err)
	}
	check(t, r.ToldStops())
	check(t, r.ToldStops(stops[:2]...))
	check(t, r.ToldStops(stops...)) // some once more
	stops, err = r.Stops(ada)
	same(t, "stops that were told", stops, err, []records.Stop(nil))
	stops, err = r.Stops(protocol.UserID{2})
	same(t, "stops of another user", stops, err, []records.Stop(nil))
}
