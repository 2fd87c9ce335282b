package node

import (
	"context"
	"errors"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// maxLosses is how often pieces may be lost by the disk before a download ends:
// a disk that loses some time after time would be written to for ever.
const maxLosses = 5

// errLost ends a swarm that believes in pieces which are not there any more.
var errLost = errors.New("verified pieces are lost")

// lossy ends a download whose disk loses what is written to it.
func lossy(r records.Download) error {
	return protocol.Errorf(protocol.CodeState, "the disk of this machine lost pieces of %s, and again after they were fetched %d times; look after the disk, or name another folder", protocol.Quote(r.Name), maxLosses)
}

// untilLost runs run, and ends it with errLost when pieces are lost after it has
// begun.
func untilLost(ctx context.Context, lost <-chan struct{}, run func(ctx context.Context) error) error {
	select {
	case <-lost: // before: run will see it
	default:
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-lost:
			end(errLost)
		case <-ctx.Done():
		}
	}()
	err := run(ctx)
	end(nil)
	<-watched
	return err
}

// finisher is the end of a filestore.Partial.
type finisher interface {
	Finish(ctx context.Context) (path string, stamp filestore.Stamp, missing []int, err error)
}

// fill fetches until the file is whole and in its place. It waits for room on the
// disk; what the disk loses is fetched again, but not for ever: E_STATE.
func (d *Download) fill(ctx context.Context, part finisher, fetch func() error) (path string, stamp filestore.Stamp, err error) {
	for losses := 0; losses <= maxLosses; {
		var missing []int
		if err = fetch(); err == nil {
			path, stamp, missing, err = part.Finish(ctx)
			err = d.finishing(err)
		} else if code := protocol.CodeOf(err); code == protocol.CodeState || code == protocol.CodePerm {
			err = d.local(err) // the file is opened anew
			if p, ok := errors.AsType[*passingError](err); ok {
				p.fetched = true
			}
		}
		switch {
		case errors.Is(err, errLost), err == nil && len(missing) > 0:
			losses++
			log.Errorw("pieces were lost before they reached the disk", "file", d.key.file, "count", losses)
		case protocol.CodeOf(err) == protocol.CodeDiskFull:
			if err = d.pause(ctx, err); err != nil {
				return "", filestore.Stamp{}, err
			}
		default:
			return path, stamp, err
		}
	}
	return "", filestore.Stamp{}, lossy(d.record())
}
