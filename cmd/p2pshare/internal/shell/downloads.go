package shell

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/progress"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

func downloadFile(ctx context.Context, s *Shell, c call) (result, error) {
	d, err := s.Client.Download(ctx, c.arg(0), c.arg(1), c.arg(2))
	if err != nil {
		return result{}, err
	}
	if c.background {
		return s.leave(d), nil
	}
	out := s.follow(ctx, []Download{d}, c.timeout)[0]
	switch {
	case out.err == nil:
		s.told(d)
		return downloaded(out.result), nil
	case errors.Is(context.Cause(ctx), ErrInterrupted) && !out.ended:
		s.Progress.Note(fmt.Sprintf("%s goes on in the background", protocol.Quote(d.Progress().Name)))
		return s.leave(d), nil
	case !out.ended:
		s.leave(d)
	default:
		s.told(d)
	}
	return result{}, out.err
}

// leave makes d a download of the background.
func (s *Shell) leave(d Download) result {
	s.followed.set(nil)
	if !slices.Contains(s.background, d) {
		s.background = append(s.background, d)
	}
	p := d.Progress()
	return line(fields{"group": p.Group, "name": p.Name, "state": string(p.State)}, "downloading %s", protocol.Printable(p.Name))
}

// told forgets a download whose end has been told.
func (s *Shell) told(d Download) {
	s.background = slices.DeleteFunc(s.background, func(other Download) bool { return other == d })
}

func wait(ctx context.Context, s *Shell, c call) (result, error) {
	all, err := s.Client.Downloads()
	if err != nil {
		return result{}, err
	}
	var chosen []Download
	if len(c.args) == 2 {
		if chosen = named(slices.Concat(all, s.background), c.arg(0), c.arg(1)); chosen == nil {
			return result{}, protocol.Errorf(protocol.CodeNotFound, "there is no download of %s in %s", protocol.Quote(c.arg(1)), protocol.Quote(c.arg(0)))
		}
		if isPaused(chosen[0]) {
			return result{}, protocol.Errorf(protocol.CodeBusy, "the download of %s is paused; resume_download lets it go on", protocol.Quote(c.arg(1)))
		}
	} else {
		chosen = slices.Clone(s.background)
		for _, d := range all {
			if !isOver(d.Progress().State) && !slices.Contains(chosen, d) {
				chosen = append(chosen, d)
			}
		}
		chosen = slices.DeleteFunc(chosen, isPaused)
	}
	var r result
	var first error
	rows := []fields{}
	for i, out := range s.follow(ctx, chosen, c.timeout) {
		if out.ended {
			s.told(chosen[i])
		} else {
			s.followed.set(nil)
		}
		if out.err != nil {
			if first == nil {
				first = out.err
			}
			continue
		}
		one := downloaded(out.result)
		r.lines = append(r.lines, one.lines...)
		rows = append(rows, one.fields)
	}
	if first == nil || len(rows) > 0 {
		r.fields = fields{"downloads": rows}
	}
	return r, first
}

// named returns the latest download of that name, nil if there is none.
func named(all []Download, group, name string) []Download {
	for _, d := range slices.Backward(all) {
		if p := d.Progress(); sameGroup(p.Group, group) && sameFile(p.Name, name) {
			return []Download{d}
		}
	}
	return nil
}

func isOver(s node.State) bool { return s == node.Complete || s == node.Failed }

// followed is how following a download went: ended with result or err, or left
// with err telling why it is not through.
type followed struct {
	result node.Result
	err    error
	ended  bool
}

// follow shows the downloads until all ended, the context does, or the timeout
// (zero: none) is over.
func (s *Shell) follow(ctx context.Context, all []Download, timeout time.Duration) []followed {
	s.followed.set(all)
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	if timeout > 0 {
		waiting, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	type ending struct {
		i   int
		out followed
	}
	ends := make(chan ending, len(all))
	for i, d := range all {
		go func() {
			result, err := d.Wait(waiting)
			// An error of the waiting itself leaves the download as it is.
			left := err != nil && waiting.Err() != nil && isCancelled(err)
			ends <- ending{i, followed{result: result, err: err, ended: !left}}
		}()
	}

	outs := make([]followed, len(all))
	open := make(map[int]progress.Task, len(all))
	for i, d := range all {
		p := d.Progress()
		open[i] = progress.Task{Kind: progress.Downloading, Group: p.Group, Name: p.Name}
	}
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	s.show(all, open)
	for len(open) > 0 {
		select {
		case <-ticker.C:
			s.show(all, open)
		case end := <-ends:
			if !end.out.ended {
				end.out.err = unfinished(ctx, all[end.i], timeout)
			}
			outs[end.i] = end.out
			s.Progress.Update(open[end.i], snapshot(all[end.i].Progress()))
			s.Progress.End(open[end.i])
			delete(open, end.i)
		}
	}
	return outs
}

func (s *Shell) show(all []Download, open map[int]progress.Task) {
	for i, d := range all {
		if task, ok := open[i]; ok {
			s.Progress.Update(task, snapshot(d.Progress()))
		}
	}
}

func snapshot(p node.Progress) progress.Snapshot {
	s := progress.Snapshot{State: string(p.State), Done: p.Done, Total: p.Total, Rate: p.Rate, Peers: p.Peers, ETA: p.ETA}
	if p.State == node.Waiting || p.State == node.Paused || p.State == node.Preparing {
		s.Reason, s.Message = string(p.Reason), p.Message
	}
	return s
}

// unfinished is why a download that was left is not through: what it waits
// for, or that it needs more time.
func unfinished(ctx context.Context, d Download, timeout time.Duration) error {
	p := d.Progress()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if p.State == node.Waiting && p.Reason != "" {
		why := p.Message
		if why == "" {
			why = "it waits"
		}
		return protocol.Errorf(p.Reason, "%s is not through after %v: %s; %s", protocol.Quote(p.Name), timeout, why, goesOn)
	}
	return protocol.Errorf(protocol.CodeBusy, "%s is at %d %% after %v; %s", protocol.Quote(p.Name), snapshot(p).Percent(), timeout, goesOn)
}

// goesOn is what becomes of a download that a command leaves. It is so in a
// script, too, which may end with that command.
const goesOn = "it goes on while this client runs, and when it starts again"

// TellUnfinished says which downloads that commands of this shell began end
// with the process: for a client that does not stay.
func (s *Shell) TellUnfinished() {
	when := "when this client starts again"
	if _, err := s.Client.User(); err != nil {
		when = "at the next login"
	}
	for _, d := range s.background {
		if p := d.Progress(); !isOver(p.State) && p.State != node.Paused {
			s.Progress.Note(fmt.Sprintf("note: %s is not through; it goes on %s (\"wait\" as the last command waits for it, --stay keeps the client running)", protocol.Quote(p.Name), when))
		}
	}
}

func downloaded(r node.Result) result {
	sha1 := hex.EncodeToString(r.SHA1[:])
	peers := []fields{}
	for _, p := range r.Peers {
		peers = append(peers, fields{"peer": p.Peer, "user": p.User, "pieces": p.Pieces})
	}
	return line(fields{
		"group": r.Group, "name": r.Name, "path": r.Path, "size": r.Size, "sha1": sha1, "id": r.ID.String(),
		"seconds": r.Took.Seconds(), "wasted": r.Wasted, "peers": peers,
	}, "downloaded %s", columns(r.Name, r.Path, r.Size, "sha1 "+sha1))
}

func showDownloads(_ context.Context, s *Shell, c call) (result, error) {
	all, err := s.Client.Downloads()
	if err != nil {
		return result{}, err
	}
	var r result
	rows := []fields{}
	for _, d := range all {
		p := d.Progress()
		letter := "D"
		if p.State == node.Complete {
			letter = "C"
		}
		text := fmt.Sprintf("[%s] [%s] %s", letter, protocol.Printable(p.Group), protocol.Printable(p.Name))
		if c.verbose {
			text += "\t" + detail(p)
		}
		r.lines = append(r.lines, text)
		rows = append(rows, fields{
			"group": p.Group, "name": p.Name, "state": string(p.State), "reason": string(p.Reason), "size": p.Total,
			"done": p.Done, "rate": int64(p.Rate), "peers": p.Peers, "eta": p.ETA.Seconds(),
		})
	}
	r.fields = fields{"downloads": rows}
	return r, nil
}

// detail is the columns of show_downloads -v: percent, rate, peers and time
// left, or percent and what keeps it.
func detail(p node.Progress) string {
	switch p.State {
	case node.Complete:
		return "100 %"
	case node.Failed:
		return columns(percent(p), fmt.Sprintf("failed: %s (%s)", p.Message, p.Reason))
	case node.Paused:
		return columns(percent(p), "paused")
	case node.Preparing:
		return columns(percent(p), p.Message)
	case node.Waiting:
		return columns(percent(p), fmt.Sprintf("waiting: %s (%s)", p.Message, p.Reason))
	default:
		eta := "time left unknown"
		if p.ETA > 0 {
			eta = progress.ETA(p.ETA) + " left"
		}
		return columns(percent(p), progress.Rate(p.Rate), Count(p.Peers, "peer"), eta)
	}
}

func percent(p node.Progress) string { return fmt.Sprintf("%d %%", snapshot(p).Percent()) }
