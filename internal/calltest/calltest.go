// Package calltest calls trackers for tests: it speaks the tracker service on any
// libp2p host as it is told to, without the comforts of package node. The
// clients of tests are written in it. Only tests import it.
package calltest

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"

	"connectrpc.com/connect"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/gostream"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// Transport carries HTTP to a tracker, on streams of a host that knows where it is.
// The caller closes its idle connections.
func Transport(h libp2phost.Host, tracker peer.ID) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if s, ok := h.Network().(*swarm.Swarm); ok {
			s.Backoff().Clear(tracker) // it may have been down a moment ago
		}
		return gostream.Dial(ctx, h, tracker, p2pproto.ID(protocol.TrackerProtocol))
	}}
}

// Service is the service of a tracker. hangUp ends the streams that are not in use.
func Service(h libp2phost.Host, tracker peer.AddrInfo) (at pb.TrackerServiceClient, hangUp func()) {
	h.Peerstore().AddAddrs(tracker.ID, tracker.Addrs, peerstore.PermanentAddrTTL)
	transport := Transport(h, tracker.ID)
	return pb.NewTrackerServiceClient(&http.Client{Transport: transport}, "http://tracker"), transport.CloseIdleConnections
}

// Do makes one call with a session, or without one if it is nil. Its error is
// what the tracker said, the header that of the reply, also of a failed one.
func Do[Q, R any](ctx context.Context, session []byte, call func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), msg *Q) (*R, http.Header, error) {
	req := connect.NewRequest(msg)
	Sign(req.Header(), session)
	resp, err := call(ctx, req)
	if err == nil {
		return resp.Msg, resp.Header(), nil
	}
	var header http.Header
	if e, ok := errors.AsType[*connect.Error](err); ok {
		header = e.Meta()
	}
	return nil, header, Said(err)
}

// Sign puts a session into the headers of a call, unless it is nil.
func Sign(h http.Header, session []byte) {
	if session != nil {
		h.Set(protocol.HeaderSession, base64.StdEncoding.EncodeToString(session))
	}
}

// Said returns what a tracker said, err itself if it said nothing.
func Said(err error) error {
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err
	}
	for _, d := range e.Details() {
		if m, err := d.Value(); err == nil {
			if f, ok := m.(*pb.Failure); ok {
				return wire.FromFailure(f)
			}
		}
	}
	return err
}

// Put sends the bytes of a manifest in chunks, whatever they are, and tells
// whether the tracker had them.
func Put(ctx context.Context, at pb.TrackerServiceClient, session, group []byte, id protocol.FileID, data []byte) (known bool, err error) {
	stream := at.PutManifest(ctx)
	Sign(stream.RequestHeader(), session)
	m := &pb.PutManifestRequest{GroupId: group, FileId: id[:]}
	for ; ; m = new(pb.PutManifestRequest) {
		n := min(len(data), protocol.ManifestChunk)
		m.Data, data = data[:n], data[n:]
		if stream.Send(m) != nil || len(data) == 0 {
			break // why it could not be sent, the reply says
		}
	}
	resp, err := stream.CloseAndReceive()
	if err != nil {
		return false, Said(err)
	}
	return resp.Msg.GetKnown(), nil
}

// Manifest fetches the description of a file.
func Manifest(ctx context.Context, at pb.TrackerServiceClient, session []byte, ref *pb.FileRequest) ([]byte, error) {
	req := connect.NewRequest(ref)
	Sign(req.Header(), session)
	stream, err := at.GetManifest(ctx, req)
	if err != nil {
		return nil, Said(err)
	}
	defer func() { _ = stream.Close() }()
	var data []byte
	for stream.Receive() {
		data = append(data, stream.Msg().GetData()...)
	}
	return data, Said(stream.Err())
}
