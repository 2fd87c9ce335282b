package shell

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/progress"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// redraw is the pace at which progress is read and shown.
const redraw = 100 * time.Millisecond

func uploadFile(ctx context.Context, s *Shell, c call) (result, error) {
	if _, err := s.Client.User(); err != nil {
		return result{}, err
	}
	group, path, err := s.groupAndPath(ctx, c.arg(0), c.arg(1))
	if err != nil {
		return result{}, err
	}
	shared, st, err := s.share(ctx, group, path)
	if err != nil {
		return result{}, err
	}
	sha1 := hex.EncodeToString(shared.SHA1[:])
	return change(st, fields{
		"group": shared.Group, "name": shared.Name, "path": shared.Path, "size": shared.Size,
		"pieces": shared.Pieces, "sha1": sha1, "id": shared.ID.String(),
	}, "sharing %s\t%d\t%d pieces\tsha1 %s", protocol.Printable(shared.Name), shared.Size, shared.Pieces, sha1), nil
}

// groupAndPath tells which of the two arguments is the file: the one that is
// an existing path; if both or neither are, the other one must name a group of
// the user; else the group stands first.
func (s *Shell) groupAndPath(ctx context.Context, first, second string) (group, path string, err error) {
	firstIs, secondIs := exists(first), exists(second)
	if firstIs != secondIs {
		if firstIs {
			return second, first, nil
		}
		return first, second, nil
	}
	groups, err := s.Client.Groups(ctx)
	if err != nil {
		return "", "", err
	}
	if !isMine(groups, first) && isMine(groups, second) {
		return second, first, nil
	}
	return first, second, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func isMine(groups []node.Group, name string) bool {
	for _, g := range groups {
		if sameGroup(g.Name, name) && (g.Role == "owner" || g.Role == "member") {
			return true
		}
	}
	return false
}

// share shows progress while the file is hashed. The node reports from
// goroutines of its own; one goroutine, this one, draws.
func (s *Shell) share(ctx context.Context, group, path string) (node.Shared, node.Stored, error) {
	type outcome struct {
		shared node.Shared
		stored node.Stored
		err    error
	}
	var done, total atomic.Int64
	total.Store(-1)
	ended := make(chan outcome, 1)
	go func() {
		shared, stored, err := s.Client.Share(ctx, group, path, func(d, t int64) {
			done.Store(d)
			total.Store(t)
		})
		ended <- outcome{shared, stored, err}
	}()

	task := progress.Task{Kind: progress.Hashing, Group: group, Name: filepath.Base(path)}
	var meter progress.Meter
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	defer s.Progress.End(task)
	for {
		select {
		case out := <-ended:
			return out.shared, out.stored, out.err
		case now := <-ticker.C:
			if t := total.Load(); t >= 0 {
				s.Progress.Update(task, meter.Observe(now, done.Load(), t))
			}
		}
	}
}

func stopShare(ctx context.Context, s *Shell, c call) (result, error) {
	group, name := c.arg(0), c.arg(1)
	st, err := s.Client.Unshare(ctx, group, name)
	if err != nil {
		return result{}, err
	}
	return change(st, fields{"group": group, "name": name}, "stopped sharing %s in %s", protocol.Printable(name), protocol.Printable(group)), nil
}

func listFiles(ctx context.Context, s *Shell, c call) (result, error) {
	files, err := s.Client.Files(ctx, c.arg(0))
	if err != nil {
		return result{}, err
	}
	var r result
	all := []fields{}
	for _, f := range files {
		sha1 := hex.EncodeToString(f.SHA1[:])
		text := columns(f.Name, f.Size, f.Seeders, "sha1 "+sha1)
		if s.atTerminal {
			text += "\t" + columns("shared by "+f.Uploader)
		}
		r.lines = append(r.lines, text)
		all = append(all, fields{
			"name": f.Name, "size": f.Size, "seeders": f.Seeders, "sha1": sha1, "id": f.ID.String(), "uploader": f.Uploader,
		})
	}
	r.fields = fields{"files": all}
	return r, nil
}

func listShares(_ context.Context, s *Shell, _ call) (result, error) {
	shares, err := s.Client.Shares()
	if err != nil {
		return result{}, err
	}
	var r result
	all := []fields{}
	for _, sh := range shares {
		state := sh.State
		if sh.Reason != "" {
			state = sh.Reason
		}
		r.lines = append(r.lines, columns(sh.Group, sh.Name, sh.Path, state))
		all = append(all, fields{"group": sh.Group, "name": sh.Name, "path": sh.Path, "state": sh.State, "reason": sh.Reason})
	}
	r.fields = fields{"shares": all}
	return r, nil
}

// sameGroup and sameFile compare names as the network does.
func sameGroup(a, b string) bool { return same(protocol.CanonicalGroup, a, b) }
func sameFile(a, b string) bool  { return same(protocol.CanonicalFile, a, b) }

func same(canonical func(string) (string, error), a, b string) bool {
	if a == b {
		return true
	}
	ca, errA := canonical(a)
	cb, errB := canonical(b)
	return errA == nil && errB == nil && ca == cb
}
