package trackers

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// pusher sends keep-alives, and some events in between.
type pusher struct {
	pb.UnimplementedTrackerServiceHandler
	events int
}

func (p *pusher) Attach(ctx context.Context, _ *connect.Request[pb.AttachRequest], out *connect.ServerStream[pb.Event]) error {
	for n := 0; ; n++ {
		e := &pb.Event{Body: &pb.Event_KeepAlive{KeepAlive: &pb.KeepAlive{}}}
		if n%4 == 3 && n/4 < p.events {
			e = &pb.Event{Body: &pb.Event_FileAdded{FileAdded: &pb.FileAdded{}}}
		}
		if err := out.Send(e); err != nil {
			return err
		}
		select {
		case <-time.After(protocol.KeepAlive):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A client that takes long over an event does not hold that against the tracker.
func TestSlowSinkIsNoSilenceOfTheTracker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, pushed := &pusher{events: 12}, 0
		c, tr := piped(t, service, func(s Signal) {
			if _, ok := s.(Pushed); ok {
				pushed++
				time.Sleep(2 * protocol.PushSilence)
			}
		})
		s := &session{}
		c.session = s
		ended := make(chan error, 1)
		go func() {
			_, err := c.attach(tr, s, nil)
			ended <- err
		}()
		select {
		case err := <-ended:
			t.Errorf("the stream ended after %d events: %v", pushed, err)
			return
		case <-time.After(10 * time.Minute):
		}
		c.cancel()
		if err := <-ended; !errors.Is(err, errClosed) || pushed != service.events {
			t.Errorf("%d events of %d, %v", pushed, service.events, err)
		}
	})
}
