package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/progress"
	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// demoSize is the size of the file that the demo makes if it is given none:
	// large enough that a tracker can be killed in the middle.
	demoSize = 256 << 20
	// demoTime is how long the demo may take, with some seconds for the clearing
	// up within its three minutes; a file of the user's may take demoPace more.
	demoTime = 165 * time.Second
	demoPace = 4 << 20 // bytes per second
	// demoKillAt is the part of the downloads at which a tracker is killed, in percent.
	demoKillAt = 25
	// demoManyPieces is from how many pieces on a copy has to come from several
	// peers; a smaller file may be through before the others have a piece of it.
	demoManyPieces = 128
	demoGroup      = "demo"
)

func demoCommand(std streams) *cli.Command {
	return &cli.Command{
		Name:            "demo",
		Usage:           "run a whole network on this machine: two trackers, three clients, two downloads, one tracker killed on the way",
		ArgsUsage:       "[FILE]",
		Action:          orHelp(std, runDemo),
		OnUsageError:    usageError,
		HideHelpCommand: true,
	}
}

// demo is one run: everything in its folder, and all processes, are gone at its end.
type demo struct {
	std      streams
	shown    progress.Renderer
	dir      string
	file     demoFile
	world    *world.World
	trackers []*world.Proc
	clients  []*world.Client // the first one shares, the others fetch
	copies   []world.Downloaded
	reports  chan report
	killed   string // which tracker, and when
}

func runDemo(c *cli.Context, std streams) (err error) {
	if c.NArg() > 1 {
		return usagef("usage: p2pshare demo [FILE]")
	}
	d := &demo{std: std, shown: demoRenderer(std), reports: make(chan report, reportsWaiting)}
	if c.NArg() == 1 {
		if d.file, err = givenFile(c.Args().First()); err != nil {
			return err
		}
	}
	interruptible, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	limit := demoTime + time.Duration(d.file.size/demoPace)*time.Second
	ctx, cancel := context.WithTimeout(interruptible, limit)
	defer cancel()

	if err = d.run(ctx); err == nil {
		return nil
	}
	if interruptible.Err() != nil {
		return toldError{interruptible.Err()}
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("not through after %v: %w", limit, err)
	}
	return &protocol.Error{Code: protocol.CodeInternal, Msg: "the demo failed: " + err.Error()}
}

func demoRenderer(std streams) progress.Renderer {
	if isTerminal(std.err) {
		return progress.NewBars(std.err)
	}
	return progress.NewLines(std.err, time.Now)
}

func (d *demo) say(format string, args ...any) { d.shown.Note(fmt.Sprintf(format, args...)) }

// run is the story that the demo tells.
func (d *demo) run(ctx context.Context) (err error) {
	defer d.shown.Close()
	if d.dir, err = os.MkdirTemp("", "p2pshare-demo-"); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() {
		err = errors.Join(err, d.end(), os.RemoveAll(d.dir))
	}()
	steps := []func(context.Context) error{d.makeFile, d.startTrackers, d.startClients, d.makeGroup, d.upload, d.downloadAll, d.afterTheKill, d.report}
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// end ends all processes.
func (d *demo) end() error {
	if d.world == nil {
		return nil
	}
	return d.world.Close()
}

func (d *demo) makeFile(ctx context.Context) error {
	if d.file.path != "" {
		return d.file.hash(ctx)
	}
	d.say("making a file of %d MiB", demoSize>>20)
	var err error
	d.file, err = randomFile(ctx, filepath.Join(d.dir, "random.bin"), demoSize)
	return err
}

// portTries is how often the demo looks for free ports: between the look and
// the start of the trackers somebody else may take one.
const portTries = 3

func (d *demo) startTrackers(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	for try := 1; ; try++ {
		err := d.tryTrackers(ctx, exe, filepath.Join(d.dir, "network-"+strconv.Itoa(try)))
		if err == nil || try == portTries || !strings.Contains(err.Error(), string(protocol.CodeAddrInUse)) {
			return err
		}
		if err := d.end(); err != nil {
			return err
		}
	}
}

func (d *demo) tryTrackers(ctx context.Context, exe, dir string) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	if d.world, err = world.New(ctx, exe, dir, 2); err != nil {
		return err
	}
	d.world.OnStderr = d.hear
	d.trackers = nil
	for number := 1; number <= 2; number++ {
		p, err := d.world.Tracker(ctx, number)
		if err != nil {
			return err
		}
		d.trackers = append(d.trackers, p)
		d.say("tracker %d serves (process %d)", number, p.Pid())
	}
	for _, p := range d.trackers {
		if err := inStep(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// inStep waits until a tracker is connected to the other one: from then on what
// it answers is stored on both, so that killing one of them loses nothing.
func inStep(ctx context.Context, p *world.Proc) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := p.Write("status"); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		connected := false
		for range statusLines {
			line, err := p.Line(ctx)
			if err != nil {
				return err
			}
			connected = connected || line == "trackers\t2 of 2 connected"
		}
		if connected {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not find the other tracker: %w", p.Name, ctx.Err())
		}
	}
}
