package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

func TestExitStatus(t *testing.T) {
	tests := []struct {
		code protocol.Code
		want int
	}{
		{protocol.CodeInternal, 1},
		{protocol.CodeUsage, 2},
		{protocol.CodeAuth, 10},
		{protocol.CodeRate, 11},
		{protocol.CodeBusy, 12},
		{protocol.CodeSession, 13},
		{protocol.CodeForbidden, 14},
		{protocol.CodeNoTracker, 20},
		{protocol.CodeTrackerID, 21},
		{protocol.CodeTrackerNew, 22},
		{protocol.CodeTrackerFull, 23},
		{protocol.CodeVersion, 24},
		{protocol.CodeNotMember, 30},
		{protocol.CodeNotFound, 31},
		{protocol.CodeExists, 32},
		{protocol.CodeName, 33},
		{protocol.CodeLimit, 34},
		{protocol.CodePassword, 35},
		{protocol.CodeConfig, 36},
		{protocol.CodeAddrInUse, 37},
		{protocol.CodeRenamed, 38},
		{protocol.CodeNoSeeders, 40},
		{protocol.CodeBadData, 41},
		{protocol.CodeBadManifest, 42},
		{protocol.CodeRevoked, 43},
		{protocol.CodeDiskFull, 50},
		{protocol.CodeTargetExists, 51},
		{protocol.CodeSourceChanged, 52},
		{protocol.CodeState, 53},
		{protocol.CodePerm, 54},
		{protocol.CodeLocked, 55},
		{protocol.CodeNotRegular, 56},
		{"E_UNHEARD_OF", 1},
	}
	for _, tt := range tests {
		t.Run(string(tt.code), func(t *testing.T) {
			err := error(protocol.Errorf(tt.code, "text"))
			for _, err := range []error{err, fmt.Errorf("around: %w", err), toldError{err}, errors.Join(err, context.Canceled)} {
				if got := exitStatus(err); got != tt.want {
					t.Errorf("exitStatus(%v) = %d, want %d", err, got, tt.want)
				}
			}
		})
	}
	for err, want := range map[error]int{
		nil: 0, errors.New("x"): 1, context.Canceled: statusInterrupted, context.DeadlineExceeded: 1,
	} {
		if got := exitStatus(err); got != want {
			t.Errorf("exitStatus(%v) = %d, want %d", err, got, want)
		}
	}
}

func TestTell(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"nothing", nil, ""},
		{"with a code", protocol.Errorf(protocol.CodeName, "no such \x1b[2Jname"), "error: no such \\u001b[2Jname (E_NAME)\n"},
		{"without one", errors.New("read x: y"), "error: read x: y (E_INTERNAL)\n"},
		{"interrupted", fmt.Errorf("x: %w", context.Canceled), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			tell(&out, tt.err)
			if got := out.String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestReadmeNamesStatuses keeps the README's table of codes true.
func TestReadmeNamesStatuses(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| ([0-9, ]+) \\| ((?:`E_[A-Z_]+`(?:, )?)+) \\|")
	rows := row.FindAllStringSubmatch(string(readme), -1)
	if len(rows) < 5 {
		t.Fatalf("the README has %d rows of codes", len(rows))
	}
	for _, r := range rows {
		numbers, codes := strings.Split(r[1], ", "), strings.Split(r[2], ", ")
		if len(numbers) != len(codes) {
			t.Errorf("%q: %d numbers for %d codes", r[0], len(numbers), len(codes))
			continue
		}
		for i, code := range codes {
			status, _ := statusOf(protocol.Code(strings.Trim(code, "`")))
			if fmt.Sprint(status) != numbers[i] {
				t.Errorf("the README gives %s the status %s, it is %d", code, numbers[i], status)
			}
		}
	}
}
