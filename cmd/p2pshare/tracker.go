package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/shell"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
)

// defaultClients is how many clients a tracker is prepared for.
const defaultClients = 1000

func trackerCommand(std streams) *cli.Command {
	return &cli.Command{
		Name:      "tracker",
		Usage:     "run a tracker, or make keys and the list of trackers",
		ArgsUsage: "TRACKER_INFO NUMBER",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data", Usage: "folder of key, catalog and log (default: tracker-NUMBER beside TRACKER_INFO)"},
			&cli.StringFlag{Name: "listen", Usage: "where to bind when it differs from the line in TRACKER_INFO"},
			&cli.BoolFlag{Name: "new-network", DisableDefaultText: true, Usage: "begin a new network if the folder has no catalog; for exactly one of its trackers"},
			&cli.IntFlag{Name: "max-clients", Value: defaultClients, Usage: "how many clients to be prepared for; other limits follow"},
			&cli.StringFlag{Name: "registration", Value: "open", Usage: "open, or closed to refuse new accounts at this tracker"},
			&cli.IntFlag{Name: "min-password", Value: 8, Usage: "the least length of a password, in characters"},
			&cli.BoolFlag{Name: "no-announce", DisableDefaultText: true, Usage: "do not tell the local network that a tracker is here; \"client --discover\" does not find it then"},
			&cli.StringSliceFlag{Name: "limit", Usage: "NAME=VALUE replaces a rate limit (repeatable); \"--limit help\" lists the names"},
		},
		Subcommands: []*cli.Command{
			{
				Name: "init", Usage: "make a network: its list and the keys of its trackers", ArgsUsage: "TRACKER_INFO [ADDR...]",
				Action: func(c *cli.Context) error { return trackerInit(c, std) }, OnUsageError: usageError, HideHelpCommand: true,
			},
			{
				Name: "id", Usage: "make a key if there is none, and print the line for TRACKER_INFO", ArgsUsage: "ADDR",
				Flags:  []cli.Flag{&cli.StringFlag{Name: "data", Usage: "folder of the key"}},
				Action: func(c *cli.Context) error { return trackerID(c, std) }, OnUsageError: usageError, HideHelpCommand: true,
			},
		},
		Action:          orHelp(std, runTracker),
		OnUsageError:    usageError,
		HideHelpCommand: true,
	}
}

func runTracker(c *cli.Context, std streams) error {
	limits, onlyHelp, err := parseLimits(c.StringSlice("limit"))
	if err != nil {
		return err
	}
	if onlyHelp {
		for _, l := range tracker.Limits() {
			fmt.Fprintf(std.out, "%s\t%s\t%s\n", l.Name, l.Default, l.Help)
		}
		return nil
	}
	cfg, err := trackerConfig(c)
	if err != nil {
		return err
	}
	cfg.Limits = limits
	if err := checkOpenFiles(cfg.MaxClients); err != nil {
		return err
	}

	// Signals count from here on, so that one during the start is not lost.
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	log, err := openLog(cfg.Dir, "tracker.log")
	if err != nil {
		return err
	}
	defer log.Close()
	log.onChange = func(err error) {
		if err != nil {
			fmt.Fprintln(std.err, "warning: what happens now is not logged: "+protocol.Printable(err.Error()))
			return
		}
		fmt.Fprintln(std.err, "note: what happens is logged again")
	}
	cfg.Log = func(a tracker.Activity) {
		log.line(a.Time, "what", a.What, "user", a.User, "peer", a.Peer, "group", a.Group, "object", a.Object, "result", a.Result, "detail", a.Detail)
		switch {
		case a.Warn:
			fmt.Fprintln(std.err, "warning: "+forOperator(a))
		case a.Mended:
			fmt.Fprintln(std.err, "note: "+forOperator(a))
		}
	}
	t, err := tracker.New(cfg)
	if protocol.CodeOf(err) != protocol.CodeLocked {
		log.begin()
	}
	if err != nil {
		return err
	}
	serveTracker(ctx, t, cfg, std, hangup, c.Args().Get(0))
	err = t.Close()
	if damage := t.Err(); damage != nil {
		return damage
	}
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// trackerConfig checks flags and arguments.
func trackerConfig(c *cli.Context) (tracker.Config, error) {
	var none tracker.Config
	if c.NArg() != 2 {
		return none, usagef("%s; usage: p2pshare tracker [FLAGS] TRACKER_INFO NUMBER, with the flags before the arguments", shell.Count(c.NArg(), "argument"))
	}
	path := c.Args().Get(0)
	entries, err := roster.Read(path)
	if err != nil {
		return none, err
	}
	number, err := strconv.Atoi(c.Args().Get(1))
	if err != nil || number < 1 || number > len(entries) {
		return none, usagef("%s is no tracker of %s; it lists %s", protocol.Quote(c.Args().Get(1)), protocol.Printable(path), listed(entries))
	}
	registration := c.String("registration")
	switch {
	case registration != "open" && registration != "closed":
		return none, protocol.Errorf(protocol.CodeConfig, "--registration %s: it is open or closed", protocol.Quote(registration))
	case c.Int("max-clients") < 1:
		return none, protocol.Errorf(protocol.CodeConfig, "--max-clients %d: at least 1", c.Int("max-clients"))
	case c.Int("min-password") < 1 || c.Int("min-password") > 128:
		return none, protocol.Errorf(protocol.CodeConfig, "--min-password %d: from 1 to 128", c.Int("min-password"))
	}
	for _, e := range entries {
		if e.ID == "" {
			return none, protocol.Errorf(protocol.CodeConfig, "%s, line %d: tracker %d has no id, so that no other one could trust it; \"p2pshare tracker init %s\" gives it one",
				protocol.Printable(path), e.Line, e.Number, protocol.Printable(path))
		}
	}
	dir := c.String("data")
	if dir == "" {
		dir = trackerDir(path, number)
	}
	if err := ownKey(dir, entries[number-1]); err != nil {
		return none, err
	}
	if c.Bool("new-network") {
		if err := tracker.MarkNew(dir, protocol.NewNetworkID()); err != nil {
			return none, err
		}
	}
	return tracker.Config{
		Trackers: entries, Number: number, Dir: dir, Listen: c.String("listen"),
		MaxClients: c.Int("max-clients"), RegistrationClosed: registration == "closed", MinPassword: c.Int("min-password"),
		Announce: !c.Bool("no-announce"),
	}, nil
}

// ownKey checks that the folder has the key of this tracker, before anything is
// written to it.
func ownKey(dir string, e roster.Entry) error {
	key, _, err := host.LoadKey(dir, false)
	if errors.Is(err, protocol.ErrNotFound) {
		return protocol.Errorf(protocol.CodeNotFound, "%s has no key of tracker %d; run it on the machine where \"p2pshare tracker init\" or \"tracker id\" made one, or say --data. If the key is lost, \"tracker id\" makes another, whose line takes the place of the old one in every list", protocol.Quote(dir), e.Number)
	}
	if err != nil {
		return err
	}
	if !e.ID.MatchesPrivateKey(key) {
		return protocol.Errorf(protocol.CodeConfig, "the key in %s is not that of tracker %d, whose id is %s", protocol.Quote(dir), e.Number, e.ID)
	}
	return nil
}

func listed(entries []roster.Entry) string {
	texts := make([]string, len(entries))
	for i, e := range entries {
		texts[i] = fmt.Sprintf("%d (%s)", e.Number, e.Text)
	}
	return strings.Join(texts, ", ")
}

// parseLimits reads NAME=VALUE; onlyHelp is set if the limits are to be listed.
func parseLimits(given []string) (limits map[string]string, onlyHelp bool, err error) {
	limits = make(map[string]string)
	for _, text := range given {
		if text == "help" {
			return nil, true, nil
		}
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || value == "" {
			return nil, false, protocol.Errorf(protocol.CodeConfig, "--limit %s: it is NAME=VALUE; \"--limit help\" lists the names", protocol.Quote(text))
		}
		limits[name] = value
	}
	return limits, false, nil
}

// serveTracker waits until the tracker serves, says so, and carries out what
// the console says until it or a signal ends it, or it ends by itself. At each
// hangup it reads the list at path again.
func serveTracker(ctx context.Context, t *tracker.Tracker, cfg tracker.Config, std streams, hangup <-chan os.Signal, path string) {
	lines := readConsole(ctx, std.in)
	ready := t.Ready()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.Done():
			return
		case <-ready:
			ready = nil
			if _, err := fmt.Fprintf(std.out, "tracker %d ready %s\n", cfg.Number, t.Addr()); err != nil {
				tell(std.err, err)
			}
		case <-hangup:
			reload(t, std, path)
		case text, open := <-lines:
			if !open {
				lines = nil // the end of standard input ends nothing
				continue
			}
			if quit := console(ctx, t, std, text); quit {
				return
			}
		}
	}
}

// reload has the tracker go on with the list as it is in the file now. If that
// cannot be, it goes on with the one it has.
func reload(t interface {
	SetTrackers(entries []roster.Entry) error
}, std streams, path string,
) {
	entries, err := roster.Read(path)
	if err == nil {
		err = t.SetTrackers(entries)
	}
	if err != nil {
		tell(std.err, fmt.Errorf("the list of trackers stays as it was: %w", err))
		return
	}
	fmt.Fprintf(std.out, "list of trackers read again: %s\n", listed(entries))
}

// forOperator is a line of the log for a terminal.
func forOperator(a tracker.Activity) string {
	parts := []string{a.What}
	for _, p := range []string{a.User, a.Peer, a.Group, a.Object, a.Result, a.Detail} {
		if p != "" && p != "ok" {
			parts = append(parts, p)
		}
	}
	return protocol.Printable(strings.Join(parts, ": "))
}

// checkOpenFiles refuses to start where the system lets this process open fewer
// files than its clients need: a connection each, some a second one while they
// move from one to another, and a hundred for everything else. Without them the
// last clients would be kept out for a reason that nobody sees.
func checkOpenFiles(clients int) error {
	need := clients*3/2 + 100
	if have, known := host.OpenFiles(); known && have < need {
		return protocol.Errorf(protocol.CodeConfig,
			"--max-clients %d needs %d open files, but the system allows this process %d; raise that (ulimit -n %d, or LimitNOFILE= of a service) or lower --max-clients to %d",
			clients, need, have, need, (max(have, 102)-100)*2/3)
	}
	return nil
}
