package trackertest

import (
	"context"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol/pb"
)

// Events is the open stream of a client. Its reader ends with the test at the latest.
type Events struct {
	c      *Client
	cancel context.CancelFunc
	ended  chan struct{}

	mu   sync.Mutex
	seen []*pb.Event // but KeepAlive
	more chan struct{}
	err  error
}

// Attach opens the stream and waits until the tracker has told the present state.
func (c *Client) Attach(addrs ...string) *Events {
	c.T.Helper()
	e := c.StartAttach(addrs...)
	if e.Wait(func(ev *pb.Event) bool { return ev.GetSynced() != nil }) == nil {
		c.T.Fatalf("attach: no Synced; ended with %v", e.Err())
	}
	return e
}

// StartAttach opens the stream.
func (c *Client) StartAttach(addrs ...string) *Events {
	ctx, cancel := context.WithCancel(context.Background())
	e := &Events{c: c, cancel: cancel, ended: make(chan struct{}), more: make(chan struct{})}
	req := connect.NewRequest(&pb.AttachRequest{Addrs: addrs})
	c.Sign(req.Header())
	at := c.at
	go func() {
		defer close(e.ended)
		stream, err := at.Attach(ctx, req)
		if err == nil {
			for stream.Receive() {
				e.add(stream.Msg())
			}
			err = stream.Err()
			_ = stream.Close()
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.err = Failure(err)
	}()
	c.T.Cleanup(e.Close)
	return e
}

func (e *Events) add(ev *pb.Event) {
	if ev.GetKeepAlive() != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, ev)
	close(e.more)
	e.more = make(chan struct{})
}

// Wait returns the first event that matches, of those seen and to come; nil if
// none comes.
func (e *Events) Wait(match func(*pb.Event) bool) *pb.Event {
	timer := time.NewTimer(Timeout)
	defer timer.Stop()
	for next := 0; ; {
		e.mu.Lock()
		for ; next < len(e.seen); next++ {
			if match(e.seen[next]) {
				defer e.mu.Unlock()
				return e.seen[next]
			}
		}
		more := e.more
		e.mu.Unlock()
		select {
		case <-more:
		case <-e.ended:
			e.mu.Lock()
			left := next < len(e.seen)
			e.mu.Unlock()
			if !left {
				return nil
			}
		case <-timer.C:
			return nil
		}
	}
}

// Expect is Wait that ends the test.
func (e *Events) Expect(what string, match func(*pb.Event) bool) *pb.Event {
	e.c.T.Helper()
	ev := e.Wait(match)
	if ev == nil {
		e.c.T.Fatalf("no event %s; seen %v", what, e.Seen())
	}
	return ev
}

// Member matches a MemberChange.
func Member(group, user string, kind pb.MemberChange_Kind) func(*pb.Event) bool {
	return func(ev *pb.Event) bool {
		m := ev.GetMember()
		return m != nil && m.GetGroup() == group && m.GetUser() == user && m.GetKind() == kind
	}
}

// Seen returns the events so far.
func (e *Events) Seen() []*pb.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*pb.Event(nil), e.seen...)
}

// Err waits for the end of the stream and returns why it ended.
func (e *Events) Err() error {
	select {
	case <-e.ended:
	case <-time.After(Timeout):
		e.c.T.Error("the stream of events does not end")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// Close ends the stream from the client's side.
func (e *Events) Close() {
	e.cancel()
	<-e.ended
}
