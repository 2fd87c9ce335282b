package rogue

import (
	"net/http"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/p2p/net/gostream"

	"github.com/p2pshare/p2pshare/protocol"
)

// serve speaks HTTP to those who take the peer for a tracker, until the test ends.
func (p *Peer) serve(handler http.Handler) {
	p.T.Helper()
	l, err := gostream.Listen(p.Host, protocol.TrackerProtocol)
	if err != nil {
		p.T.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(l) }()
	p.T.Cleanup(func() { _ = server.Close(); <-ended })
}

// Impersonate listens for calls to a tracker, and counts those that come.
func (p *Peer) Impersonate() *atomic.Int64 {
	heard := new(atomic.Int64)
	p.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		heard.Add(1)
		w.WriteHeader(http.StatusTeapot)
	}))
	return heard
}
