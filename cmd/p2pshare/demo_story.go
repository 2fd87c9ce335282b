package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/progress"
	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/protocol"
)

// report is progress that a client tells.
type report struct {
	client string
	progress.Object
}

// reportsWaiting is how many reports may wait to be drawn.
const reportsWaiting = 64

// hear takes lines that processes write to standard error. A full queue drops
// reports: the next one is on its way.
func (d *demo) hear(process, line string) {
	var o progress.Object
	if json.Unmarshal([]byte(line), &o) != nil || o.Progress != progress.Downloading {
		return
	}
	select {
	case d.reports <- report{process, o}:
	default:
	}
}

func (d *demo) startClients(ctx context.Context) error {
	for _, name := range []string{"ada", "ben", "cleo"} {
		c, err := d.world.Client(ctx, name)
		if err != nil {
			return err
		}
		d.clients = append(d.clients, c)
		// The password goes through a pipe, and guards a network of three minutes.
		password := "demo-password-of-" + name
		if err := c.All(ctx, "create_user "+name+" "+password, "login "+name+" "+password); err != nil {
			return err
		}
		d.say("%s has an account and is logged in (process %d)", name, c.Pid())
	}
	return nil
}

// soonTime is how long a change may take from the tracker of one client to that
// of another, if those were not connected when it was made.
const soonTime = 10 * time.Second

// soon runs a command that depends on what another client has just done, maybe
// at the other tracker: while its tracker knows nothing of that, it tries again.
func soon(ctx context.Context, c *world.Client, command string, result any) error {
	deadline := time.Now().Add(soonTime)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.Do(ctx, command, result)
		failure, ok := errors.AsType[*world.Error](err)
		if !ok || time.Now().After(deadline) {
			return err
		}
		switch protocol.Code(failure.Reply.Error.Code) {
		case protocol.CodeNotFound, protocol.CodeNotMember, protocol.CodeBusy:
		default:
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

func (d *demo) makeGroup(ctx context.Context) error {
	owner := d.clients[0]
	if err := owner.Do(ctx, "create_group "+demoGroup, nil); err != nil {
		return err
	}
	for _, c := range d.clients[1:] {
		if err := soon(ctx, c, "join_group "+demoGroup, nil); err != nil {
			return err
		}
		if err := soon(ctx, owner, "accept_request "+demoGroup+" "+c.Name, nil); err != nil {
			return err
		}
	}
	d.say("%s owns the group %s and has let %s and %s in", owner.Name, demoGroup, d.clients[1].Name, d.clients[2].Name)
	return nil
}

func (d *demo) upload(ctx context.Context) error {
	var shared struct {
		Name, SHA1 string
		Pieces     int
	}
	if err := d.clients[0].Do(ctx, "upload_file "+demoGroup+" "+quoted(d.file.path), &shared); err != nil {
		return err
	}
	if want := hex.EncodeToString(d.file.sha1); shared.SHA1 != want {
		return fmt.Errorf("%s shares the file with the sha1 %s, it is %s", d.clients[0].Name, shared.SHA1, want)
	}
	d.file.name, d.file.pieces = shared.Name, shared.Pieces
	d.say("%s shares %s: %s in %d pieces", d.clients[0].Name, shared.Name, humanize.IBytes(uint64(d.file.size)), shared.Pieces)
	return nil
}

// downloadAll lets all but the first client fetch the file at once, and kills
// the tracker of the first of them on the way.
func (d *demo) downloadAll(ctx context.Context) error {
	victim, err := d.trackerOf(ctx, d.clients[1])
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	fetching := d.clients[1:]
	d.copies = make([]world.Downloaded, len(fetching))
	ends := make(chan error, len(fetching))
	for i, c := range fetching {
		go func() { ends <- soon(running, c, "download_file "+demoGroup+" "+quoted(d.file.name), &d.copies[i]) }()
	}
	done := make(map[string]int64)
	var failed error
	for left := len(fetching); left > 0; {
		select {
		case err := <-ends:
			left--
			if err != nil {
				cancel() // the others need not go on
			}
			if failed == nil {
				failed = err
			}
		case r := <-d.reports:
			done[r.client] = r.Done
			d.draw(r)
			if percent := d.percent(done); d.killed == "" && percent >= demoKillAt && percent < 100 {
				d.kill(victim, fmt.Sprintf("at %d %% of the downloads", percent))
			}
		}
	}
	for _, c := range fetching {
		d.shown.End(progress.Task{Kind: progress.Downloading, Name: c.Name})
	}
	if failed == nil && d.killed == "" {
		d.kill(victim, "behind the downloads, which were over too soon")
	}
	return failed
}

func (d *demo) draw(r report) {
	d.shown.Update(progress.Task{Kind: progress.Downloading, Name: r.client}, progress.Snapshot{
		State: r.State, Reason: r.Reason, Done: r.Done, Total: r.Size, Rate: float64(r.Rate), Peers: r.Peers,
		ETA: time.Duration(r.ETA * float64(time.Second)),
	})
}

// percent is how much of all downloads is through.
func (d *demo) percent(done map[string]int64) int {
	var sum int64
	for _, n := range done {
		sum += n
	}
	return progress.Snapshot{Done: sum, Total: d.file.size * int64(len(d.clients)-1)}.Percent()
}

// trackerOf returns the number of the tracker that a client is connected to.
func (d *demo) trackerOf(ctx context.Context, c *world.Client) (int, error) {
	var r struct {
		Trackers []struct {
			Number int
			State  string
		}
	}
	if err := c.Do(ctx, "trackers", &r); err != nil {
		return 0, err
	}
	for _, t := range r.Trackers {
		if t.State == "connected" && t.Number >= 1 && t.Number <= len(d.trackers) {
			return t.Number, nil
		}
	}
	return 0, fmt.Errorf("%s is connected to no tracker", c.Name)
}

func (d *demo) kill(number int, when string) {
	p := d.trackers[number-1]
	p.Kill()
	d.killed = fmt.Sprintf("tracker %d (process %d), to which %s was connected, was killed with -9 %s", number, p.Pid(), d.clients[1].Name, when)
	d.say("%s", d.killed)
}

// afterTheKill has every client ask the tracker that is left.
func (d *demo) afterTheKill(ctx context.Context) error {
	for _, c := range d.clients {
		var r struct{ Files []struct{ Name string } }
		if err := soon(ctx, c, "list_files "+demoGroup, &r); err != nil {
			return err
		}
		if len(r.Files) != 1 || r.Files[0].Name != d.file.name {
			return fmt.Errorf("%s does not find the file in the list of the tracker that is left", c.Name)
		}
	}
	d.say("all three clients went on with the other tracker, without a password")
	return nil
}

// report checks the copies and prints the table.
func (d *demo) report(ctx context.Context) error {
	want := hex.EncodeToString(d.file.sha1)
	table := tabwriter.NewWriter(d.std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "client\tsize\ttime\trate\tpeers\tpieces from\tsha1")
	var faults []string
	for i, got := range d.copies {
		name := d.clients[i+1].Name
		onDisk := demoFile{path: got.Path}
		if err := onDisk.hash(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		verdict := hex.EncodeToString(onDisk.sha1)
		if verdict == want {
			verdict += " (as the original)"
		} else {
			faults = append(faults, fmt.Sprintf("the copy of %s is not the original, whose sha1 is %s", name, want))
		}
		if len(got.Peers) < 2 && d.file.pieces >= demoManyPieces {
			faults = append(faults, fmt.Sprintf("%s got everything from one peer", name))
		}
		var from []string
		for _, p := range got.Peers {
			from = append(from, fmt.Sprintf("%s %d", p.User, p.Pieces))
		}
		seconds := max(got.Seconds, 0.001)
		fmt.Fprintf(table, "%s\t%s\t%.1f s\t%s\t%d\t%s\t%s\n", name, humanize.IBytes(uint64(onDisk.size)), seconds,
			progress.Rate(float64(onDisk.size)/seconds), len(got.Peers), strings.Join(from, ", "), verdict)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	fmt.Fprintln(d.std.out, d.killed)
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}

// quoted writes a word so that the shell reads it as one.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
