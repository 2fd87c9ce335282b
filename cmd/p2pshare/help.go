package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/p2pshare/p2pshare/protocol"
)

// topAction is for a command line without one of the commands.
func topAction(c *cli.Context, std streams) error {
	switch first := c.Args().First(); {
	case first == "" || first == "help" && c.NArg() == 1:
		return cli.ShowAppHelp(c)
	case first == "help":
		return showHelp(std, c.Args().Get(1))
	case first == "version" && c.NArg() == 1:
		cli.ShowVersion(c)
		return nil
	default:
		return usagef("unknown command %s; the commands are tracker, client, demo and compare", protocol.Quote(first))
	}
}

// showHelp tells of a command what COMMAND --help does, or lists the codes.
func showHelp(std streams, about string) error {
	app := newApp(std)
	switch {
	case about == "codes":
		fmt.Fprint(std.out, "CODE\tEXIT STATUS\tMEANING\n-\t0\tsuccess\n")
		for _, s := range statuses() {
			fmt.Fprintf(std.out, "%s\t%d\t%s\n", s.code, s.status, s.meaning)
		}
		fmt.Fprintf(std.out, "-\t%d\ta signal ended it before it was through\n", statusInterrupted)
		return nil
	case app.Command(about) != nil:
		return app.Run([]string{app.Name, about, "--help"})
	default:
		return usagef("there is no help on %s; there is on tracker, client, demo, compare, and codes", protocol.Quote(about))
	}
}

// orHelp lets COMMAND help do what COMMAND --help does, unless there is a file
// of that name.
func orHelp(std streams, action func(*cli.Context, streams) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() == 1 && c.Args().First() == "help" {
			if _, err := os.Lstat("help"); errors.Is(err, fs.ErrNotExist) {
				return showHelp(std, c.Command.Name)
			}
		}
		return action(c, std)
	}
}
