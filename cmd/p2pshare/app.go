package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// Set by the linker in builds of the Makefile; else the build information that
// Go itself embeds is told.
var (
	version string
	commit  string
)

// streams is the standard streams of the process.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run is the program; it returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	noCoreDumps()
	// quic-go tells everybody on standard error that a kernel's UDP buffers are
	// small; QUIC is our fallback, and standard error belongs to the user.
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	// The same goes for what multicast DNS says of interfaces without IPv6. We
	// ourselves write no log this way.
	log.SetOutput(io.Discard)
	out := &output{to: stdout}
	err := newApp(streams{stdin, out, stderr}).Run(args)
	if err == nil {
		err = out.failure()
	}
	if _, told := errors.AsType[toldError](err); !told {
		tell(stderr, err)
	}
	return exitStatus(err)
}

func newApp(std streams) *cli.App {
	return &cli.App{
		Name:                      "p2pshare",
		Usage:                     "share big files inside closed groups, machine to machine",
		Version:                   versionText(),
		Reader:                    std.in,
		Writer:                    std.out,
		ErrWriter:                 std.err,
		Commands:                  []*cli.Command{trackerCommand(std), clientCommand(std), demoCommand(std), compareCommand(std)},
		Action:                    func(c *cli.Context) error { return topAction(c, std) },
		OnUsageError:              usageError,
		ExitErrHandler:            func(*cli.Context, error) {},
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true, // commands and limits may contain commas
	}
}

// usageError gives faults of flags the project's code.
func usageError(c *cli.Context, err error, _ bool) error {
	return usagef("%v; \"%s --help\" lists the flags", err, c.Command.HelpName)
}

// versionText is version and commit, as far as they are known.
func versionText() string {
	v, rev := version, commit
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && rev == "" {
				rev = s.Value
			}
		}
	}
	if v == "" {
		v = "(devel)"
	}
	if rev == "" {
		rev = "unknown"
	}
	return fmt.Sprintf("%s, commit %s", v, rev)
}

// isTerminal reports whether the stream is a terminal.
func isTerminal(stream any) bool {
	if o, ok := stream.(*output); ok {
		stream = o.to
	}
	f, ok := stream.(*os.File)
	return ok && fileIsTerminal(f)
}
