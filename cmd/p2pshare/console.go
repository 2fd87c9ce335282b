package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker"
)

// readConsole gives the lines of a stream; the channel is closed at its end.
// A read that blocks for ever, as that of a terminal may, is left to the end of
// the process.
func readConsole(ctx context.Context, in io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(in)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}

// consoleTracker is what the console needs of a tracker.Tracker.
type consoleTracker interface {
	Status() tracker.Status
	ResetPassword(ctx context.Context, user string) (string, error)
	SetDisabled(ctx context.Context, user string, disabled bool) error
}

// console carries out one command; quit is set if it is the last one.
func console(ctx context.Context, t consoleTracker, std streams, text string) (quit bool) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return false
	}
	name, args := strings.ToLower(words[0]), words[1:]
	switch {
	case (name == "quit" || name == "exit") && len(args) == 0:
		return true
	case name == "status" && len(args) == 0:
		printStatus(std.out, t.Status())
	case name == "help" && len(args) == 0:
		fmt.Fprint(std.out, "status\tshow trackers connected, users, groups, files, clients online, lag, and what to do where something is wrong\n"+
			"reset_password USER\tgive a user a new random password and print it\n"+
			"disable_user USER\tlock a user out\n"+
			"enable_user USER\tlet a user in again\n"+
			"quit\tend this tracker\n")
	case name == "reset_password" && len(args) == 1:
		password, err := t.ResetPassword(ctx, args[0])
		if err != nil {
			tell(std.err, err)
			return false
		}
		fmt.Fprintf(std.out, "password of %s: %s\n", protocol.Printable(args[0]), password)
	case (name == "disable_user" || name == "enable_user") && len(args) == 1:
		if err := t.SetDisabled(ctx, args[0], name == "disable_user"); err != nil {
			tell(std.err, err)
			return false
		}
		fmt.Fprintf(std.out, "user %s %sd\n", protocol.Printable(args[0]), strings.TrimSuffix(name, "_user"))
	case name == "reset_password" || name == "disable_user" || name == "enable_user":
		tell(std.err, usagef("usage: %s USER", name))
	default:
		tell(std.err, usagef("%s is not understood; \"help\" lists the commands", protocol.Quote(text)))
	}
	return false
}

// statusLines is how many lines printStatus prints.
const statusLines = 7

// printStatus prints a line for each thing, with what is wrong about it and what
// to do in that line.
func printStatus(out io.Writer, s tracker.Status) {
	serving, lag := "yes", "none"
	switch {
	case !s.Serving:
		serving = "no: " + s.Reason
	case s.Trouble != "":
		serving = "yes, but: " + s.Trouble
	}
	if len(s.Behind) > 0 {
		lag = "nothing was exchanged with " + strings.Join(s.Behind, ", ")
	}
	missing := strings.Join(append([]string{""}, s.Missing...), "; ")
	fmt.Fprintf(out, "serving\t%s\ntrackers\t%d of %d connected%s\nusers\t%d\ngroups\t%d\nfiles\t%d\nonline\t%d\nlag\t%s\n",
		protocol.Printable(serving), s.Connected, s.Trackers, protocol.Printable(missing), s.Users, s.Groups, s.Files, s.Online, protocol.Printable(lag))
}
