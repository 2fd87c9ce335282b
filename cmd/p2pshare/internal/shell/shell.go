package shell

import (
	"context"
	"errors"
	"flag"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/progress"
	"github.com/p2pshare/p2pshare/protocol"
)

// ErrQuit is what Run returns for quit and exit.
var ErrQuit = errors.New("quit")

// ErrInterrupted is the cause with which a command's context is cancelled when
// the user wants the prompt back: a download then goes on in the background.
var ErrInterrupted = errors.New("interrupted")

// Options says over what a shell works. Client, Out, Err and Progress are needed.
type Options struct {
	Client Client
	// Out gets results, Err errors and notices.
	Out, Err io.Writer
	// JSON makes each result an object on a line.
	JSON bool
	// Progress shows transfers. It is used by one command at a time.
	Progress progress.Renderer
	// Secret asks for a password that is not on the line; nil: it must be there.
	Secret func(ctx context.Context, prompt string) (string, error)
	// Introduce decides about trackers that are not known yet, before they are
	// listed; nil: that is done already, or nobody may decide.
	Introduce func(ctx context.Context)
	// SecretTwice makes commands that set a password ask for it twice.
	SecretTwice bool
}

// Shell runs commands, one at a time.
type Shell struct {
	Options

	// atTerminal is set for a person: then lists have more columns than those
	// that scripts rely on.
	atTerminal bool

	// background is the downloads that a command of this shell started and left,
	// and whose end no command has told yet.
	background []Download
	followed   followedSet
}

// followedSet is the downloads whose end the present command, or the last one,
// tells: notices of it would only repeat that.
type followedSet struct {
	mu    sync.Mutex
	names map[[2]string]bool // group and file
}

func (f *followedSet) set(all []Download) {
	names := make(map[[2]string]bool, len(all))
	for _, d := range all {
		p := d.Progress()
		names[[2]string{p.Group, p.Name}] = true
	}
	f.mu.Lock()
	f.names = names
	f.mu.Unlock()
}

func (f *followedSet) has(group, file string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.names[[2]string{group, file}]
}

// New returns a shell.
func New(o Options) *Shell { return &Shell{Options: o} }

// Run runs one line, prints what it answers and returns its error, which has
// been printed too; nil for a blank line or comment, ErrQuit for quit.
func (s *Shell) Run(ctx context.Context, line string) error {
	words, background, err := split(line)
	if err != nil {
		name := firstWord(line)
		if lookUp(name) == nil {
			name = ""
		}
		return s.fail(name, err, nil)
	}
	if len(words) == 0 {
		if background {
			return s.fail("", protocol.Errorf(protocol.CodeUsage, "& stands behind a download_file command"), nil)
		}
		return nil
	}
	name := strings.ToLower(words[0])
	c := lookUp(name)
	if c == nil {
		return s.fail(name, protocol.Errorf(protocol.CodeUsage, "unknown command %s; \"help\" lists the commands", protocol.Quote(words[0])), nil)
	}
	call, err := c.parse(words[1:], background)
	var res result
	switch {
	case errors.Is(err, flag.ErrHelp) || len(words) == 2 && words[1] == "--help":
		res, err = c.about(), nil
	case err != nil:
		return s.fail(name, err, nil)
	default:
		res, err = c.run(ctx, s, call)
	}
	switch {
	case errors.Is(err, ErrQuit):
		_ = s.answer(name, res) // there is nothing in it that could be missed
		return ErrQuit
	case err != nil:
		return s.fail(name, err, &res)
	}
	if err := s.answer(name, res); err != nil {
		return s.fail(name, err, nil)
	}
	return nil
}

// command is an entry of the table: everything that is known of a command.
type command struct {
	name string
	args string // as usage and help show them
	help string
	// counts is how many arguments it takes.
	counts []int
	// passwordAfter is behind how many arguments passwords begin, -1 for none.
	passwordAfter int
	// background is set if & may stand behind it.
	background bool
	// flags defines its flags; nil for none: then no argument is taken for one.
	flags func(*flag.FlagSet, *call)
	run   func(context.Context, *Shell, call) (result, error)
}

// call is the arguments of one command.
type call struct {
	args       []string
	background bool
	verbose    bool
	timeout    time.Duration // zero: none
}

// arg returns the i-th argument, "" if there are fewer.
func (c call) arg(i int) string {
	if i < len(c.args) {
		return c.args[i]
	}
	return ""
}

func (c *command) usage() string { return strings.TrimSpace(c.name + " " + c.args) }

// parse checks the arguments. E_USAGE carries the usage of the command.
func (c *command) parse(args []string, background bool) (call, error) {
	out := call{args: args, background: background}
	if c.flags != nil {
		set := flag.NewFlagSet(c.name, flag.ContinueOnError)
		set.SetOutput(io.Discard)
		set.Usage = func() {}
		c.flags(set, &out)
		if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
			return call{}, err
		} else if err != nil {
			return call{}, c.misused(protocol.Printable(err.Error()))
		}
		out.args = set.Args()
	}
	switch {
	case background && !c.background:
		return call{}, c.misused("& stands behind download_file only")
	case out.timeout < 0:
		return call{}, c.misused("a timeout is not negative")
	case !slices.Contains(c.counts, len(out.args)):
		return call{}, c.misused(Count(len(out.args), "argument"))
	}
	return out, nil
}

func (c *command) misused(why string) error {
	return protocol.Errorf(protocol.CodeUsage, "%s: %s; usage: %s", c.name, why, c.usage())
}

// secret returns the password of a command: from its argument i, or asked for.
func (s *Shell) secret(ctx context.Context, c call, i int, prompt string, isNew bool) (string, error) {
	if i < len(c.args) {
		return c.args[i], nil
	}
	if s.Secret == nil {
		return "", protocol.Errorf(protocol.CodeUsage, "no password: there is no terminal to ask on; use --password-stdin")
	}
	password, err := s.Secret(ctx, prompt+": ")
	if err != nil || !isNew || !s.SecretTwice {
		return password, err
	}
	again, err := s.Secret(ctx, prompt+", again: ")
	if err != nil {
		return "", err
	}
	if again != password {
		return "", protocol.Errorf(protocol.CodePassword, "the two passwords differ; nothing was done")
	}
	return password, nil
}
