package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	stdnet "net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
)

// scriptTime is how long one script may take.
const scriptTime = 2 * time.Minute

// stage is the network and the processes of one script.
type stage struct {
	ctx   context.Context
	world *world.World
	procs map[string]*world.Proc
}

type stageKey struct{}

// TestScript runs the scripts of testdata/script against the program, each with
// a home of its own. Beside the commands of testscript there are:
//
//	status N PROGRAM ARG...
//	                      runs a program that must end with exit status N
//	network N             makes a network of N trackers in $WORK and starts them
//	list FILE             takes the network of a list that was made already
//	tracker N [FLAG...]   starts tracker N and waits until it serves
//	begin N [FLAG...]     starts tracker N and does not wait
//	served N              waits until a tracker that was begun serves
//	hangup WHO            ends the standard input of a client or tracker
//	client NAME [FLAG...] starts a client with plain answers
//	ask NAME COMMAND      runs a command there; what it answers is stdout
//	refuse NAME CODE COMMAND
//	                      runs a command there that must fail with a code
//	note NAME TEXT        waits until NAME has written TEXT to standard error
//	console N COMMAND     types a line at tracker N; what it answers is stdout
//	quit N                types quit at tracker N, which must end with 0 within 5 s
//	kill9 WHO             kills a client or tracker
//	interrupt WHO         interrupts a client or tracker, which must end with 0
//	reserve VAR           sets VAR to an address of loopback that is in use
//	free VAR              sets VAR to one that is not
//	random FILE SIZE      makes a file of random bytes
//	same FILE FILE        compares two files byte for byte
//	mode FILE MODE        checks the permissions of a file or folder
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("XDG_STATE_HOME", filepath.Join(home, "state"))
			ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
			s := &stage{ctx: ctx, procs: make(map[string]*world.Proc)}
			env.Values[stageKey{}] = s
			env.Defer(func() {
				defer cancel()
				if s.world == nil {
					return
				}
				if err := s.world.Close(); err != nil {
					t.Error(err)
				}
			})
			return os.Mkdir(home, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":    onStage(2, (*stage).status),
			"network":   onStage(1, (*stage).network),
			"list":      onStage(1, (*stage).list),
			"tracker":   onStage(1, (*stage).tracker),
			"begin":     onStage(1, (*stage).begin),
			"served":    onStage(1, (*stage).served),
			"hangup":    onStage(1, (*stage).hangup),
			"client":    onStage(1, (*stage).client),
			"ask":       onStage(2, (*stage).ask),
			"refuse":    onStage(3, (*stage).refuse),
			"note":      onStage(2, (*stage).note),
			"console":   onStage(2, (*stage).console),
			"quit":      onStage(1, (*stage).quit),
			"kill9":     onStage(1, (*stage).kill9),
			"interrupt": onStage(1, (*stage).interrupt),
			"reserve":   onStage(1, (*stage).reserve),
			"free":      onStage(1, (*stage).free),
			"random":    onStage(2, (*stage).random),
			"same":      onStage(2, (*stage).same),
			"mode":      onStage(2, (*stage).mode),
		},
	})
}

// onStage makes a command of testscript out of a method that wants at least n
// arguments.
func onStage(n int, do func(*stage, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < n {
			ts.Fatalf("at least %d arguments, and no negation", n)
		}
		ts.Check(do(ts.Value(stageKey{}).(*stage), ts, args))
	}
}

func (s *stage) status(ts *testscript.TestScript, args []string) error {
	want, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			return err
		}
		got = exit.ExitCode()
	}
	if got != want {
		return fmt.Errorf("it ends with status %d, want %d", got, want)
	}
	return nil
}

func (s *stage) network(ts *testscript.TestScript, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	bin, err := exec.LookPath("p2pshare")
	if err != nil {
		return err
	}
	if s.world, err = world.New(s.ctx, bin, ts.MkAbs("."), n, "HOME="+ts.Getenv("HOME"), "XDG_STATE_HOME="+ts.Getenv("XDG_STATE_HOME")); err != nil {
		return err
	}
	ts.Setenv("INFO", s.world.Info)
	for number := range n {
		if err := s.tracker(ts, []string{strconv.Itoa(number + 1)}); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) list(ts *testscript.TestScript, args []string) error {
	bin, err := exec.LookPath("p2pshare")
	if err != nil {
		return err
	}
	s.world = world.Open(bin, ts.MkAbs(args[0]), "HOME="+ts.Getenv("HOME"), "XDG_STATE_HOME="+ts.Getenv("XDG_STATE_HOME"))
	ts.Setenv("INFO", s.world.Info)
	return nil
}

func (s *stage) tracker(_ *testscript.TestScript, args []string) error {
	number, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	s.procs[args[0]], err = s.world.Tracker(s.ctx, number, args[1:]...)
	return err
}

func (s *stage) begin(_ *testscript.TestScript, args []string) error {
	number, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	s.procs[args[0]], err = s.world.Begin(s.ctx, number, args[1:]...)
	return err
}

func (s *stage) served(_ *testscript.TestScript, args []string) error {
	p, err := s.proc(args[0])
	if err != nil {
		return err
	}
	line, err := p.Line(s.ctx)
	if err == nil && !strings.HasPrefix(line, "tracker "+args[0]+" ready /") {
		err = fmt.Errorf("it says %q", line)
	}
	return err
}

func (s *stage) hangup(_ *testscript.TestScript, args []string) error {
	p, err := s.proc(args[0])
	if err != nil {
		return err
	}
	return p.CloseInput()
}

func (s *stage) client(_ *testscript.TestScript, args []string) (err error) {
	s.procs[args[0]], err = s.world.Plain(s.ctx, args[0], args[1:]...)
	return err
}

func (s *stage) proc(name string) (*world.Proc, error) {
	if p, ok := s.procs[name]; ok {
		return p, nil
	}
	return nil, fmt.Errorf("there is no %s", name)
}

// exchange types a line at a process and returns its answer: all lines before
// the answer to a second command, which begins and ends as told.
func (s *stage) exchange(name, text, second, begins, ends string) (string, error) {
	p, err := s.proc(name)
	if err != nil {
		return "", err
	}
	if err := p.Write(text + "\n" + second); err != nil {
		return "", err
	}
	var answer strings.Builder
	for over := false; ; {
		line, err := p.Line(s.ctx)
		if err != nil {
			return "", fmt.Errorf("%w\n%s", err, p.Stderr())
		}
		over = over || strings.HasPrefix(line, begins)
		if !over {
			answer.WriteString(line + "\n")
		}
		if over && line == ends {
			return answer.String(), nil
		}
	}
}

// command runs a command at a client.
func (s *stage) command(name, command string) (string, error) {
	return s.exchange(name, command, "help quit", "usage: quit", "leave")
}

func (s *stage) ask(ts *testscript.TestScript, args []string) error {
	answer, err := s.command(args[0], args[1])
	if err != nil {
		return err
	}
	_, err = io.WriteString(ts.Stdout(), answer)
	return err
}

func (s *stage) refuse(ts *testscript.TestScript, args []string) error {
	p, err := s.proc(args[0])
	if err != nil {
		return err
	}
	failure := regexp.MustCompile(`(?m)^error: .* \((E_[A-Z_]+)\)$`)
	before := len(failure.FindAllString(p.Stderr(), -1))
	answer, err := s.command(args[0], args[2])
	if err != nil {
		return err
	}
	if answer != "" {
		return fmt.Errorf("%s answers %q", args[2], answer)
	}
	for {
		if all := failure.FindAllStringSubmatch(p.Stderr(), -1); len(all) > before {
			if got := all[before][1]; got != args[1] {
				return fmt.Errorf("%s: got %s, want %s", args[2], all[before][0], args[1])
			}
			return nil
		}
		if err := s.pause(); err != nil {
			return fmt.Errorf("%s did not fail: %w", args[2], err)
		}
	}
}

func (s *stage) note(_ *testscript.TestScript, args []string) error {
	p, err := s.proc(args[0])
	if err != nil {
		return err
	}
	for !strings.Contains(p.Stderr(), args[1]) {
		if err := s.pause(); err != nil {
			return fmt.Errorf("%q is not said: %w\n%s", args[1], err, p.Stderr())
		}
	}
	return nil
}

// pause is the pace at which a condition is looked at again.
func (s *stage) pause() error {
	select {
	case <-time.After(10 * time.Millisecond):
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *stage) console(ts *testscript.TestScript, args []string) error {
	answer, err := s.exchange(args[0], args[1], "help", "status\t", "quit\tend this tracker")
	if err != nil {
		return err
	}
	_, err = io.WriteString(ts.Stdout(), answer)
	return err
}

func (s *stage) quit(_ *testscript.TestScript, args []string) error {
	p, err := s.proc(args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	if err := p.Write("quit"); err != nil {
		return err
	}
	return p.Wait(ctx)
}

func (s *stage) kill9(_ *testscript.TestScript, args []string) error {
	p, err := s.proc(args[0])
	if err != nil {
		return err
	}
	p.Kill()
	return nil
}

func (s *stage) interrupt(_ *testscript.TestScript, args []string) error {
	p, err := s.proc(args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	return p.Stop(ctx)
}

func (s *stage) reserve(ts *testscript.TestScript, args []string) error {
	l, err := stdnet.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], l.Addr().String())
	return nil
}

func (s *stage) free(ts *testscript.TestScript, args []string) error {
	l, err := stdnet.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ts.Setenv(args[0], l.Addr().String())
	return l.Close()
}

func (s *stage) random(ts *testscript.TestScript, args []string) error {
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{1}), size); err != nil {
		return err
	}
	return f.Close()
}

func (s *stage) same(ts *testscript.TestScript, args []string) error {
	if ts.ReadFile(args[0]) != ts.ReadFile(args[1]) {
		return fmt.Errorf("%s and %s differ", args[0], args[1])
	}
	return nil
}

func (s *stage) mode(ts *testscript.TestScript, args []string) error {
	info, err := os.Stat(ts.MkAbs(args[0]))
	if err != nil {
		return err
	}
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		return fmt.Errorf("%s has the mode %s, want %s", args[0], got, args[1])
	}
	return nil
}
