// Package world runs trackers and clients of this program as processes of
// their own on loopback. The demo and the tests of the whole binary are
// written in it; it knows the command line and nothing behind it.
package world

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// World is one network in one folder. Its methods are for one goroutine; the
// processes that it returns may be used by one goroutine each.
type World struct {
	Dir  string // everything is below it
	Info string // the network's TRACKER_INFO
	// Wrap is put before each command line, for example a shell that limits
	// memory; nil for none.
	Wrap []string
	// OnStderr gets what the processes write to standard error, a line at a time
	// and one call at a time for each process; nil for nobody.
	OnStderr func(process, line string)

	// Announce lets trackers tell the local network of themselves.
	Announce bool

	bin   string
	env   []string
	procs []*Proc
}

// New makes a network of n trackers on free ports of 127.0.0.1 in dir, run by
// the program bin. env is added to the environment of every process.
func New(ctx context.Context, bin, dir string, n int, env ...string) (*World, error) {
	w := &World{Dir: dir, Info: filepath.Join(dir, "tracker_info.txt"), bin: bin, env: env}
	args := []string{"tracker", "init", w.Info}
	ports, err := freePorts(n)
	if err != nil {
		return nil, err
	}
	for _, port := range ports {
		args = append(args, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	out, err := w.command(ctx, args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("tracker init: %w: %s", err, out)
	}
	return w, nil
}

// Open makes a World of a network that has a list and keys already.
func Open(bin, info string, env ...string) *World {
	return &World{Dir: filepath.Dir(info), Info: info, bin: bin, env: env}
}

// freePorts finds ports that nobody uses just now, below those that systems
// give to outgoing connections: a tracker that starts later, or again, must
// still find its port free.
func freePorts(n int) ([]int, error) {
	const low, high, tries = 10_000, 30_000, 1_000
	var ports []int
	for range tries {
		if len(ports) == n {
			return ports, nil
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(low+rand.IntN(high-low))))
		if err != nil {
			continue // taken
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return nil, fmt.Errorf("look for free ports: none of %d tried", tries)
}

func (w *World) command(ctx context.Context, args ...string) *exec.Cmd {
	line := append(append([]string{}, w.Wrap...), w.bin)
	line = append(line, args...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir = w.Dir
	cmd.Env = append(os.Environ(), w.env...)
	return cmd
}

// Begin starts tracker number and does not wait.
func (w *World) Begin(ctx context.Context, number int, flags ...string) (*Proc, error) {
	args := []string{"tracker"}
	if !w.Announce {
		args = append(args, "--no-announce")
	}
	args = append(append(args, flags...), w.Info, strconv.Itoa(number))
	return w.start(ctx, fmt.Sprintf("tracker %d", number), args)
}

// Tracker starts tracker number and waits until it serves.
func (w *World) Tracker(ctx context.Context, number int, flags ...string) (*Proc, error) {
	p, err := w.Begin(ctx, number, flags...)
	if err != nil {
		return nil, err
	}
	if _, err := p.Line(ctx); err != nil {
		p.Kill()
		return nil, fmt.Errorf("tracker %d did not get ready: %w: %s", number, err, p.Stderr())
	}
	return p, nil
}

// Client starts a client that reads commands from its standard input and
// answers in JSON; its data folder is Dir/name, its downloads go to
// Dir/name-files.
func (w *World) Client(ctx context.Context, name string, flags ...string) (*Client, error) {
	args, downloads, err := w.clientArgs(name, append([]string{"--json"}, flags...))
	if err != nil {
		return nil, err
	}
	p, err := w.start(ctx, name, args)
	if err != nil {
		return nil, err
	}
	return &Client{Proc: p, Name: name, Downloads: downloads}, nil
}

// Plain starts a client that reads commands from its standard input and answers
// in lines, with the folders of Client.
func (w *World) Plain(ctx context.Context, name string, flags ...string) (*Proc, error) {
	args, _, err := w.clientArgs(name, flags)
	if err != nil {
		return nil, err
	}
	return w.start(ctx, name, args)
}

func (w *World) clientArgs(name string, flags []string) (args []string, downloads string, err error) {
	downloads = filepath.Join(w.Dir, name+"-files")
	if err := os.MkdirAll(downloads, 0o755); err != nil {
		return nil, "", err
	}
	args = append([]string{"client", "--data", filepath.Join(w.Dir, name), "--downloads", downloads}, flags...)
	return append(args, "127.0.0.1:0", w.Info), downloads, nil
}

func (w *World) start(ctx context.Context, name string, args []string) (*Proc, error) {
	var onStderr func(string)
	if w.OnStderr != nil {
		onStderr = func(line string) { w.OnStderr(name, line) }
	}
	p, err := start(name, w.command(context.WithoutCancel(ctx), args...), onStderr)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	w.procs = append(w.procs, p)
	return p, nil
}

// Close ends every process that still runs, politely first, and waits for it.
func (w *World) Close() error {
	var wg sync.WaitGroup
	errs := make([]error, len(w.procs))
	for i, p := range w.procs {
		wg.Go(func() {
			if p.ended() {
				return
			}
			p.interrupt()
			if !p.waitFor(5 * time.Second) {
				p.Kill()
				errs[i] = fmt.Errorf("%s did not end within 5 s", p.Name)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
