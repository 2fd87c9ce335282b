package piece_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/protocol"
)

// fetchLimited fetches the file by so many streams at once, in simulated time,
// and returns how long that took.
func fetchLimited(t *testing.T, f *file, streams int, up, down *piece.Limit) (took time.Duration) {
	t.Helper()
	a := newAdmission(f)
	s := piece.NewBareServer(piece.ServerConfig{Admit: a.admit, Now: a.clock, Limit: up})
	var conns []*piece.Conn
	var events []*eventsOf
	began := time.Now()
	pieces := len(f.manifest.Pieces)
	for i := range streams {
		ours, theirs := pipe()
		go s.Serve(theirs, "leecher")
		e := &eventsOf{newEvents()}
		c := piece.Start(ours, piece.OpenConfig{Manifest: f.manifest, File: theFile, Ticket: []byte("good"), Sink: e.put, Limit: down})
		want[piece.Bitfield](t, e.events)
		for at := i; at < pieces; at += streams {
			c.Request(at)
		}
		conns, events = append(conns, c), append(events, e)
	}
	for i, e := range events {
		for range (pieces - i + streams - 1) / streams {
			e.piece(t, f)
		}
	}
	took = time.Since(began)
	for i, c := range conns {
		c.Close()
		if err := events[i].closed(t); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return took
}

type eventsOf struct{ *events }

// piece waits, for as long as it takes, for a piece of f.
func (e *eventsOf) piece(t *testing.T, f *file) {
	t.Helper()
	switch ev := (<-e.ch).(type) {
	case piece.Received:
		if !bytes.Equal(ev.Data.B, f.piece(ev.Piece)) {
			t.Errorf("piece %d arrived altered", ev.Piece)
		}
		ev.Data.Release()
	case piece.Closed:
		t.Fatalf("the stream ended: %v", ev.Err)
	case piece.Bitfield, piece.Have, piece.Begun, piece.Dropped:
		t.Fatalf("event %#v", ev)
	}
}

func TestLimits(t *testing.T) {
	const size = 8 * protocol.PieceLength
	tests := []struct {
		name     string
		streams  int
		up, down int64
		want     int64 // bytes per second
	}{
		{name: "upload", streams: 1, up: 1 << 20, want: 1 << 20},
		{name: "upload, several streams", streams: 4, up: 1 << 20, want: 1 << 20},
		{name: "lowest upload", streams: 4, up: piece.MinLimit, want: piece.MinLimit},
		{name: "download", streams: 1, down: 2 << 20, want: 2 << 20},
		{name: "download, several streams", streams: 4, down: 2 << 20, want: 2 << 20},
		{name: "lowest download", streams: 2, down: piece.MinLimit, want: piece.MinLimit},
		{name: "both", streams: 2, up: 512 << 10, down: 2 << 20, want: 512 << 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := func(rate int64) *piece.Limit {
					if rate == 0 {
						return nil
					}
					return piece.NewLimit(rate)
				}
				took := fetchLimited(t, newFile(size), tt.streams, limit(tt.up), limit(tt.down))
				// What may move at once, 64 KiB, comes for nothing.
				least := time.Duration(float64(size-64<<10) / float64(tt.want) * float64(time.Second))
				if took < least-time.Millisecond || took > least+least/20 {
					t.Errorf("%d bytes at %d B/s took %v, want %v and 5 %% more at most", size, tt.want, took, least)
				}
			})
		})
	}
}

// TestLimitLetsGo: a stream that waits for its share ends at once.
func TestLimitLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFile(4 * protocol.PieceLength)
		a := newAdmission(f)
		s := piece.NewBareServer(piece.ServerConfig{Admit: a.admit, Now: a.clock, Limit: piece.NewLimit(1)})
		ours, theirs := pipe()
		served := make(chan struct{})
		go func() {
			s.Serve(theirs, "leecher")
			close(served)
		}()
		e := newEvents()
		c := piece.Start(ours, piece.OpenConfig{Manifest: f.manifest, File: theFile, Ticket: []byte("good"), Sink: e.put})
		want[piece.Bitfield](t, e)
		c.Request(0)
		time.Sleep(time.Second)
		began := time.Now()
		c.Close()
		if err := e.closed(t); err != nil {
			t.Error(err)
		}
		<-served
		if took := time.Since(began); took > time.Second {
			t.Errorf("ending took %v", took)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
