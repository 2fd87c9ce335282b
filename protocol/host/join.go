package host

import (
	"context"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	tptu "github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
)

// joinedTLS is libp2p's TLS whose connections hand all records of one write to
// the system in one call. TLS alone makes a call for each record of 16 KiB,
// which costs a file transfer about a tenth of its throughput.
type joinedTLS struct {
	*libp2ptls.Transport
	// buffers holds *joined, for all connections: an idle one holds none.
	buffers *sync.Pool
}

func newJoinedTLS(id p2pproto.ID, key crypto.PrivKey, muxers []tptu.StreamMuxer) (*joinedTLS, error) {
	t, err := libp2ptls.New(id, key, muxers)
	if err != nil {
		return nil, err
	}
	buffers := &sync.Pool{New: func() any { return &joined{b: make([]byte, 0, joinBuffer)} }}
	return &joinedTLS{Transport: t, buffers: buffers}, nil
}

// SecureInbound does TLS as the server.
func (t *joinedTLS) SecureInbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	j := newJoiner(insecure, t.buffers)
	c, err := t.Transport.SecureInbound(ctx, j, p)
	if err != nil {
		return nil, err
	}
	return &joinedConn{SecureConn: c, joiner: j}, nil
}

// SecureOutbound does TLS as the client.
func (t *joinedTLS) SecureOutbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	j := newJoiner(insecure, t.buffers)
	c, err := t.Transport.SecureOutbound(ctx, j, p)
	if err != nil {
		return nil, err
	}
	return &joinedConn{SecureConn: c, joiner: j}, nil
}

// joinedConn is the plain side: it knows where a write begins and ends.
type joinedConn struct {
	sec.SecureConn
	joiner *joiner
}

// oneRecord is the most bytes that TLS certainly puts into one record.
const oneRecord = 1 << 10

func (c *joinedConn) Write(p []byte) (int, error) {
	if len(p) <= oneRecord {
		return c.SecureConn.Write(p)
	}
	c.joiner.begin()
	n, err := c.SecureConn.Write(p)
	if flushErr := c.joiner.flush(); err == nil {
		err = flushErr
	}
	return n, err
}

// joinBuffer holds a frame of yamux (64 KiB) with what TLS adds to it.
const joinBuffer = 68 << 10

type joined struct{ b []byte }

// joiner is the encrypted side. Between begin and flush it collects.
type joiner struct {
	net.Conn
	buffers *sync.Pool

	// turn is held while bytes are put in order or given to the socket, so
	// that an alert cannot overtake collected records. It guards what follows.
	turn    chan struct{}
	writers int // writes between begin and flush
	waiting *joined
	err     error // of an earlier flush: what it lost cannot be made good
}

func newJoiner(c net.Conn, buffers *sync.Pool) *joiner {
	return &joiner{Conn: c, buffers: buffers, turn: make(chan struct{}, 1)}
}

func (j *joiner) begin() {
	j.turn <- struct{}{}
	defer func() { <-j.turn }()
	j.writers++
}

func (j *joiner) Write(p []byte) (int, error) {
	j.turn <- struct{}{}
	defer func() { <-j.turn }()
	if j.err != nil {
		return 0, j.err
	}
	if j.writers == 0 {
		return j.Conn.Write(p)
	}
	if j.waiting == nil {
		j.waiting = j.buffers.Get().(*joined)
	}
	if len(j.waiting.b)+len(p) > joinBuffer {
		if err := j.send(); err != nil {
			return 0, err
		}
	}
	if len(p) > joinBuffer {
		return j.Conn.Write(p)
	}
	j.waiting.b = append(j.waiting.b, p...)
	return len(p), nil
}

func (j *joiner) flush() error {
	j.turn <- struct{}{}
	defer func() { <-j.turn }()
	j.writers--
	if j.err != nil || j.waiting == nil {
		return j.err
	}
	err := j.send()
	if j.writers == 0 {
		j.buffers.Put(j.waiting)
		j.waiting = nil
	}
	return err
}

// send empties the buffer. The caller holds the turn.
func (j *joiner) send() error {
	if len(j.waiting.b) == 0 {
		return nil
	}
	_, j.err = j.Conn.Write(j.waiting.b)
	j.waiting.b = j.waiting.b[:0]
	return j.err
}
