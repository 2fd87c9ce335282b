package rpc

import (
	"context"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// Deadlines of one call, so that no peer holds a stream and its buffers by
// reading or writing slowly. Attach and the manifests set their own.
const (
	readTimeout  = 20 * time.Second
	writeTimeout = 20 * time.Second
)

// remote is the other end of a stream, as libp2p has authenticated it.
type remote struct {
	id   peer.ID
	text string       // of id, as it is in facts and leases
	addr ma.Multiaddr // nil if unknown
	// known tells that it has shown a session.
	known func()
}

type (
	remoteKey     struct{}
	controllerKey struct{}
	requestKey    struct{}
)

// place stands for where it is, as limits count it.
func (r remote) place() string { return host.AddressKey(r.addr) }

// doorman accepts the streams of clients, and hangs up on who comes from an address
// that has too many on which no session was shown.
type doorman struct {
	net.Listener
	strangers *host.Strangers
}

// guest is one stream until its end.
type guest struct {
	net.Conn
	remote remote
	leave  func()
}

// turnedAway is a stream whose connection is closed when it is looked at: that
// may take a moment, which is not the doorman's.
type turnedAway struct {
	net.Conn
	stream network.Stream
}

func (c turnedAway) Read([]byte) (int, error) {
	_ = c.stream.Conn().Close()
	return 0, net.ErrClosed
}

func (d doorman) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s, ok := c.(network.Stream)
	if !ok {
		return nil, fmt.Errorf("not a stream of libp2p: %T", c)
	}
	visit, ok := d.strangers.Enter(s.Conn())
	if !ok {
		return turnedAway{c, s}, nil
	}
	id := s.Conn().RemotePeer()
	from := remote{id: id, text: id.String(), addr: s.Conn().RemoteMultiaddr(), known: visit.Known}
	return &guest{Conn: c, remote: from, leave: visit.Leave}, nil
}

// Close ends the stream.
func (g *guest) Close() error {
	g.leave()
	return g.Conn.Close()
}

// remoteOf is who is at the other end of an accepted stream.
func remoteOf(c net.Conn) remote {
	if g, ok := c.(*guest); ok {
		return g.remote
	}
	return remote{}
}

// handler is the service behind what holds for every request.
func (s *Server) handler() http.Handler {
	options := []connect.HandlerOption{
		connect.WithInterceptors(&interceptor{s}),
		connect.WithReadMaxBytes(protocol.MaxRequest),
		connect.WithSendMaxBytes(protocol.MaxReply),
		// Without compression no small request becomes a large one.
		connect.WithCompression("gzip", nil, nil),
		connect.WithRecover(s.recovered),
	}
	path, service := pb.NewTrackerServiceHandler(s,
		append(options, connect.WithConditionalHandlerOptions(func(spec connect.Spec) []connect.HandlerOption {
			if spec.Procedure == pb.TrackerServicePutManifestProcedure {
				// One chunk and its frame, in each message of the stream.
				return []connect.HandlerOption{connect.WithReadMaxBytes(protocol.ManifestChunk + 1<<10)}
			}
			return nil
		}))...)
	mux := http.NewServeMux()
	mux.Handle(path, service)
	errors := connect.NewErrorWriter(options...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			http.Error(w, "the tracker is stopping", http.StatusServiceUnavailable)
			return
		}
		defer s.calls.Done()
		w = &stampWriter{ResponseWriter: w, s: s}
		rc := http.NewResponseController(w)
		now := time.Now()
		if rc.SetReadDeadline(now.Add(readTimeout)) != nil || rc.SetWriteDeadline(now.Add(writeTimeout)) != nil {
			return // the stream is gone
		}
		reader := &requestWriter{ResponseWriter: w}
		r = r.WithContext(context.WithValue(context.WithValue(r.Context(), controllerKey{}, rc), requestKey{}, reader))
		switch from, _ := r.Context().Value(remoteKey{}).(remote); {
		case from.id == "":
			http.Error(w, "who are you?", http.StatusForbidden)
		case !speaksConnect(r):
			http.Error(w, "this is not the Connect protocol with protobuf", http.StatusUnsupportedMediaType)
		case r.ContentLength > protocol.MaxRequest && r.URL.Path != pb.TrackerServicePutManifestProcedure:
			_ = errors.Write(w, r, s.refusal(protocol.Errorf(protocol.CodeLimit,
				"limit reached: a request may have %d bytes", protocol.MaxRequest), ""))
		default:
			mux.ServeHTTP(reader, r)
			if reader.unread != 0 {
				_ = errors.Write(w, r, s.refusal(malformed(reader.unread), ""))
			}
		}
	})
}

// speaksConnect leaves out what the library would answer besides: gRPC, JSON,
// calls by GET. One wire is enough to keep safe.
func speaksConnect(r *http.Request) bool {
	t := strings.TrimSpace(strings.ToLower(r.Header.Get("Content-Type")))
	return r.Method == http.MethodPost && (t == "application/proto" || t == "application/connect+proto")
}

// stampWriter adds the headers that every reply carries, failed ones too, at
// the moment when the reply begins: a change has its stamp by then.
type stampWriter struct {
	http.ResponseWriter
	s     *Server
	begun bool
}

func (w *stampWriter) WriteHeader(status int) {
	w.begin()
	w.ResponseWriter.WriteHeader(status)
}

func (w *stampWriter) Write(b []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(b)
}

// Flush is what connect asks for behind each message of a stream.
func (w *stampWriter) Flush() {
	w.begin()
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController find the deadlines.
func (w *stampWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *stampWriter) begin() {
	if w.begun {
		return
	}
	w.begun = true
	h := w.Header()
	h.Set(protocol.HeaderStamp, w.s.replica.Now().String())
	h.Set(protocol.HeaderTime, strconv.FormatInt(w.s.cfg.Now().UnixMilli(), 10))
}

// requestWriter takes the place of what the library answers to a request that
// it could not read: the answer carries a Failure like all others.
type requestWriter struct {
	http.ResponseWriter
	read   bool         // the request; from then on the answer is the service's
	unread connect.Code // why it could not be read
}

func (w *requestWriter) WriteHeader(status int) {
	if !w.read {
		switch status {
		case http.StatusBadRequest:
			w.unread = connect.CodeInvalidArgument
		case http.StatusTooManyRequests:
			w.unread = connect.CodeResourceExhausted
		}
	}
	if w.unread == 0 {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *requestWriter) Write(b []byte) (int, error) {
	if w.unread != 0 {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// Flush is what connect asks for behind each message of a stream.
func (w *requestWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap lets http.ResponseController find the deadlines.
func (w *requestWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// deadlines replaces the deadlines of the call's stream; zero: none.
func deadlines(ctx context.Context, read, write time.Duration) {
	rc, ok := ctx.Value(controllerKey{}).(*http.ResponseController)
	if !ok {
		return
	}
	_ = rc.SetReadDeadline(deadline(read)) // a stream that is gone fails at its next use
	_ = rc.SetWriteDeadline(deadline(write))
}

func deadline(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// quietLog drops what net/http says about broken requests: misbehaviour of remotes.
func quietLog() *stdlog.Logger { return stdlog.New(io.Discard, "", 0) }
