package main

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/progress"
	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/shell"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

func clientCommand(std streams) *cli.Command {
	return &cli.Command{
		Name:      "client",
		Usage:     "share and fetch files: a shell on a terminal, else commands from standard input",
		ArgsUsage: "[LISTEN] TRACKER_INFO",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "c", Usage: "run this `COMMAND` instead of reading standard input (repeatable)"},
			&cli.BoolFlag{Name: "e", DisableDefaultText: true, Usage: "stop at the first command that fails"},
			&cli.BoolFlag{Name: "stay", DisableDefaultText: true, Usage: "go on sharing and downloading after the last command, until SIGINT or SIGTERM"},
			&cli.StringFlag{Name: "data", DefaultText: "$XDG_STATE_HOME/p2pshare/client or ~/.local/state/p2pshare/client, with a LISTEN port client-PORT", Usage: "folder of key, session, shares, unfinished downloads and log"},
			&cli.StringFlag{Name: "downloads", DefaultText: "the current folder", Usage: "where downloads go by default"},
			&cli.BoolFlag{Name: "json", DisableDefaultText: true, Usage: "answer each command with a JSON object on a line"},
			&cli.BoolFlag{Name: "password-stdin", DisableDefaultText: true, Usage: "take passwords that are not on a command's line from standard input, a line each"},
			&cli.IntFlag{Name: "workers", DefaultText: "twice the number of CPUs, at least 4", Usage: "pieces verified at once, and written at once by each download"},
			&cli.StringFlag{Name: "upload-limit", Usage: "send at most `RATE` of files per second, over all transfers, for example 10MiB"},
			&cli.StringFlag{Name: "download-limit", Usage: "fetch at most `RATE` per second, over all transfers"},
			&cli.BoolFlag{Name: "accept-new-trackers", DisableDefaultText: true, Usage: "trust trackers that are listed without an id, and remember their ids"},
			&cli.BoolFlag{Name: "discover", DisableDefaultText: true, Usage: "in place of TRACKER_INFO: find the trackers of the local network, show their ids, ask, and remember them"},
			&cli.BoolFlag{Name: "strict-tickets", DisableDefaultText: true, Usage: "while no tracker is reachable, serve nobody for longer than a ticket lasts (15 minutes), instead of four hours"},
		},
		Action:          orHelp(std, runClient),
		OnUsageError:    usageError,
		HideHelpCommand: true,
	}
}

// clientRun is one run of a client: what the flags say.
type clientRun struct {
	std           streams
	listen        string
	list          string
	discover      bool // in place of list
	data          string
	downloads     string
	commands      []string
	workers       int
	upload        int64 // bytes per second, 0 for no bound
	download      int64 // the same
	stopAtFirst   bool
	stay          bool
	json          bool
	passwordStdin bool
	acceptNew     bool
	strictTickets bool
	interactive   bool
}

func runClient(c *cli.Context, std streams) error {
	r, err := parseClient(c, std)
	if err != nil {
		return err
	}
	// In the shell Ctrl-C is for the command that runs, otherwise for the process.
	ending := []os.Signal{syscall.SIGTERM}
	var interrupts chan os.Signal
	if r.interactive {
		interrupts = make(chan os.Signal, 1)
		signal.Notify(interrupts, os.Interrupt)
		defer signal.Stop(interrupts)
	} else {
		ending = append(ending, os.Interrupt)
	}
	ctx, stop := signal.NotifyContext(c.Context, ending...)
	defer stop()

	// The key comes first: with it the folder becomes the user's alone.
	if _, _, err := host.LoadKey(r.data, true); err != nil {
		return err
	}
	log, err := openLog(r.data, "client.log")
	if err != nil {
		return err
	}
	defer log.Close()
	asking, stopAsking := context.WithCancel(ctx)
	defer stopAsking()
	trackers, err := r.trackers(ctx)
	if err != nil {
		return err
	}
	n, err := node.New(append(r.options(asking, log), trackers)...)
	if protocol.CodeOf(err) != protocol.CodeLocked {
		log.begin() // else the folder and its log are another process's
	}
	if protocol.CodeOf(err) == protocol.CodeLocked {
		return protocol.Errorf(protocol.CodeLocked, "%w; a second client on this machine needs a LISTEN port of its own, or another --data", err)
	}
	if err != nil {
		return err
	}
	if r.interactive {
		err = confirmTrackers(asking, n, interrupts, stopAsking)
	}
	if err == nil {
		err = r.commandsOver(ctx, n, interrupts)
	}
	if closeErr := n.Close(); closeErr != nil && err == nil {
		err = fmt.Errorf("close: %w", closeErr)
	}
	return err
}

// confirmTrackers has the user decide about trackers that are not known yet.
// Questions end with the context, which stop ends: later the terminal is the
// line editor's. An interrupt ends the program: there is no command under way
// that it could be for.
func confirmTrackers(ctx context.Context, n *node.Node, interrupts <-chan os.Signal, stop func()) error {
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.ConfirmTrackers(ctx)
	}()
	select {
	case <-done:
		return ctx.Err()
	case <-interrupts:
	}
	stop()
	<-done
	return context.Canceled
}

func parseClient(c *cli.Context, std streams) (clientRun, error) {
	r := clientRun{
		std: std, data: c.String("data"), downloads: c.String("downloads"), commands: c.StringSlice("c"), workers: c.Int("workers"),
		stopAtFirst: c.Bool("e"), stay: c.Bool("stay"), json: c.Bool("json"), passwordStdin: c.Bool("password-stdin"), acceptNew: c.Bool("accept-new-trackers"),
		strictTickets: c.Bool("strict-tickets"), discover: c.Bool("discover"),
	}
	switch {
	case r.discover && c.NArg() <= 1:
		r.listen = c.Args().Get(0)
	case r.discover:
		return r, usagef("%s; usage: p2pshare client --discover [FLAGS] [LISTEN]: it takes the place of TRACKER_INFO", shell.Count(c.NArg(), "argument"))
	case c.NArg() == 1:
		r.list = c.Args().Get(0)
	case c.NArg() == 2:
		r.listen, r.list = c.Args().Get(0), c.Args().Get(1)
	default:
		return r, usagef("%s; usage: p2pshare client [FLAGS] [LISTEN] TRACKER_INFO, with the flags before the arguments", shell.Count(c.NArg(), "argument"))
	}
	var port uint16
	if r.listen != "" {
		at, err := netip.ParseAddrPort(r.listen)
		if err != nil {
			hint := ""
			if r.discover {
				hint = "; --discover takes the place of TRACKER_INFO"
			}
			return r, protocol.Errorf(protocol.CodeConfig, "LISTEN %s is not IP:PORT%s", protocol.Quote(r.listen), hint)
		}
		port = at.Port()
	}
	if c.IsSet("workers") && r.workers < 1 {
		return r, protocol.Errorf(protocol.CodeConfig, "--workers %d: at least 1", r.workers)
	}
	for _, limit := range []struct {
		flag string
		to   *int64
	}{{"upload-limit", &r.upload}, {"download-limit", &r.download}} {
		if c.IsSet(limit.flag) {
			rate, err := parseRate(limit.flag, c.String(limit.flag))
			if err != nil {
				return r, err
			}
			*limit.to = rate
		}
	}
	if !r.discover {
		if _, err := roster.Read(r.list); err != nil {
			return r, err // before any folder is made
		}
	}
	if r.data == "" {
		dir, err := defaultData(port)
		if err != nil {
			return r, err
		}
		r.data = dir
	}
	r.interactive = len(r.commands) == 0 && !r.passwordStdin && !r.json && isTerminal(std.in) && isTerminal(std.out)
	return r, nil
}

// parseRate reads bytes per second: 10MiB, 10MiB/s, 500kB.
func parseRate(flag, text string) (int64, error) {
	rate, err := humanize.ParseBytes(strings.TrimSuffix(strings.TrimSpace(text), "/s"))
	if err != nil || rate > math.MaxInt64 {
		return 0, protocol.Errorf(protocol.CodeConfig, "--%s %s is not a rate; write it like 10MiB", flag, protocol.Quote(text))
	}
	if rate < node.MinLimit {
		return 0, protocol.Errorf(protocol.CodeConfig, "--%s %s: at least %dKiB, since members take less for a broken connection", flag, protocol.Quote(text), node.MinLimit>>10)
	}
	return int64(rate), nil
}

// defaultData is where a client keeps what it must not lose. A port of its own
// gives a folder of its own, so that several clients run on one machine.
func defaultData(port uint16) (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" || !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", protocol.Errorf(protocol.CodeConfig, "there is no home folder for the client's data; name one with --data: %w", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	name := "client"
	if port != 0 {
		name += "-" + strconv.Itoa(int(port))
	}
	return filepath.Join(state, "p2pshare", name), nil
}

// trackers names the network's trackers to the node: those of the list, or those
// that the local network tells of, without the ids that it tells: to each the
// node puts its question of its own before it believes anything.
func (r clientRun) trackers(ctx context.Context) (node.Option, error) {
	if !r.discover {
		return node.WithTrackerFile(r.list), nil
	}
	// No command is under way that an interrupt could be for.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	found, err := node.Discover(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	addrs := make([]string, len(found))
	for i, f := range found {
		fmt.Fprintf(r.std.err, "note: found the tracker %s with the id %s\n", f.Address, f.ID)
		addrs[i] = f.Address
	}
	return node.WithTrackers(addrs...), nil
}

// options turns flags into those of the node. A question may be put to the
// terminal until asking ends.
func (r clientRun) options(asking context.Context, log *logFile) []node.Option {
	opts := []node.Option{
		node.WithDataDir(r.data),
		node.WithLog(func(e node.Event) {
			log.line(e.Time, "what", e.Kind, "group", e.Group, "user", e.User, "file", e.File, "text", e.Text)
		}),
	}
	if r.listen != "" {
		opts = append(opts, node.WithListen(r.listen))
	}
	if r.downloads != "" {
		opts = append(opts, node.WithDownloadDir(r.downloads))
	}
	if r.workers > 0 {
		opts = append(opts, node.WithWorkers(r.workers))
	}
	if r.strictTickets {
		opts = append(opts, node.WithStrictTickets())
	}
	opts = append(opts, node.WithUploadLimit(r.upload), node.WithDownloadLimit(r.download))
	switch {
	case r.acceptNew:
		opts = append(opts, node.WithConfirm(func(address, id string) bool {
			fmt.Fprintf(r.std.err, "note: trusting the tracker %s with the id %s from now on\n", protocol.Printable(address), protocol.Printable(id))
			return true
		}))
	case r.interactive:
		opts = append(opts, node.WithConfirm(func(address, id string) bool {
			return askYes(asking, r.std.in, r.std.err, fmt.Sprintf("The tracker %s has the id %s.\nTrust it from now on?", protocol.Printable(address), protocol.Printable(id)))
		}))
	}
	return opts
}

// commandsOver runs the shell or the script, then stays if it is to.
func (r clientRun) commandsOver(ctx context.Context, n *node.Node, interrupts <-chan os.Signal) error {
	s := shell.New(shell.Options{Client: shell.ForNode(n), Out: r.std.out, Err: r.std.err, JSON: r.json, Progress: r.renderer()})
	defer s.Progress.Close()
	if r.acceptNew {
		s.Introduce = n.ConfirmTrackers
	}
	var err error
	if r.interactive {
		err = s.Interact(ctx, shell.Terminal{In: r.std.in, Out: r.std.out, History: filepath.Join(r.data, "history"), Interrupts: interrupts})
	} else {
		err = r.script(ctx, s)
	}
	if !r.stay || (r.stopAtFirst && err != nil) {
		s.TellUnfinished()
		return err
	}
	select { // in a script there are no interrupts: they end the context
	case <-ctx.Done():
	case <-interrupts:
	}
	if isInterrupted(err) {
		return nil // the signal came during the last command, as it may
	}
	return err
}

func (r clientRun) script(ctx context.Context, s *shell.Shell) error {
	var lines shell.Lines
	stdin := shell.NewInput(r.std.in)
	defer stdin.Close()
	if len(r.commands) > 0 {
		if slices.ContainsFunc(r.commands, shell.CarriesPassword) {
			fmt.Fprintln(r.std.err, "warning: a password on the command line can be seen by other users of this machine; use --password-stdin")
		}
		commands := shell.Commands(r.commands)
		lines = &commands
	} else {
		lines = stdin
	}
	if r.passwordStdin {
		s.Secret = stdin.Secret
	} else if f, ok := r.std.in.(*os.File); ok && isTerminal(f) {
		s.Secret, s.SecretTwice = askSecret(f, r.std.err), true
	}
	if err := s.RunScript(ctx, lines, r.stopAtFirst); err != nil {
		return toldError{err}
	}
	return nil
}

// renderer is bars for a person, objects for a program, lines for a file.
func (r clientRun) renderer() progress.Renderer {
	switch {
	case r.json:
		return progress.NewJSON(r.std.err, time.Now)
	case isTerminal(r.std.err):
		return progress.NewBars(r.std.err)
	default:
		return progress.NewLines(r.std.err, time.Now)
	}
}
