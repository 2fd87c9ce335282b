package scheduler_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/scheduler"
	"github.com/p2pshare/p2pshare/protocol"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscripts replays the events in testdata and compares the effects. A
// transcript has one event on each line that begins with '>', behind the time
// since the beginning; the effects of it follow. Lines that begin with '#' are
// for the reader. The first event is "new PIECES BUDGET SEED".
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("transcripts: %v, %v", files, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("effects differ; got:\n%s\n(go test -update rewrites the file)", got)
			}
		})
	}
}

func replay(t *testing.T, transcript string) string {
	t.Helper()
	var out strings.Builder
	var m *model
	lines := bufio.NewScanner(strings.NewReader(transcript))
	for lines.Scan() {
		line := lines.Text()
		words := strings.Fields(line)
		if len(words) == 0 || line[0] == '#' {
			fmt.Fprintln(&out, line)
			continue
		}
		if words[0] != ">" {
			continue // an effect of the last time
		}
		fmt.Fprintln(&out, line)
		if words[1] == "new" {
			m = newModel(t, scheduler.Config{
				Size: int64(number(t, words[2])) * length, PieceLength: length,
				Budget: int64(number(t, words[3])) * length, Seed: uint64(number(t, words[4])),
			})
			continue
		}
		at, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatal(err)
		}
		m.now = at
		for _, e := range m.step(parseEvent(t, words[2:])) {
			fmt.Fprintf(&out, "  %s\n", describe(e))
		}
		if code, text := m.sched.Waiting(); code != "" {
			fmt.Fprintf(&out, "  (%s: %s)\n", code, text)
		}
	}
	return out.String()
}

func parseEvent(t *testing.T, words []string) scheduler.Event {
	t.Helper()
	id := func() scheduler.Peer { return scheduler.Peer(words[1]) }
	n := func(i int) int { return number(t, words[i]) }
	switch words[0] {
	case "joined":
		if words[2] == "all" {
			return scheduler.PeerJoined{Peer: id(), Complete: true}
		}
		bits := make([]byte, 8)
		for _, w := range words[2:] {
			i := number(t, w)
			bits[i/8] |= 0x80 >> (i % 8)
		}
		return scheduler.PeerJoined{Peer: id(), Bits: bits}
	case "has":
		return scheduler.PeerHas{Peer: id(), Piece: n(2)}
	case "left":
		return scheduler.PeerLeft{Peer: id()}
	case "begun":
		return scheduler.PieceBegun{Peer: id(), Piece: n(2)}
	case "received":
		return scheduler.PieceReceived{Peer: id(), Piece: n(2), RTT: 10 * time.Millisecond}
	case "failed":
		ev := scheduler.FetchFailed{Peer: id(), Piece: n(2)}
		if len(words) > 3 {
			ev.Code = protocol.Code(words[3])
		}
		return ev
	case "verified":
		return scheduler.PieceVerified{Piece: n(1)}
	case "corrupt":
		return scheduler.PieceCorrupt{Piece: n(1)}
	case "inconsistent":
		return scheduler.PieceInconsistent{Piece: n(1)}
	case "unsaved":
		return scheduler.PieceUnsaved{Piece: n(1)}
	case "tick":
		return scheduler.Tick{}
	case "paused":
		return scheduler.Paused{Code: protocol.CodeDiskFull, Message: "the disk is full"}
	case "resumed":
		return scheduler.Resumed{}
	case "budget":
		return scheduler.Budget{Bytes: int64(n(1)) * length}
	case "candidates":
		return scheduler.Candidates{Count: n(1)}
	}
	t.Fatalf("no such event: %v", words)
	return nil
}

func describe(e scheduler.Effect) string {
	switch e := e.(type) {
	case scheduler.Fetch:
		return fmt.Sprintf("fetch %d from %s", e.Piece, e.Peer)
	case scheduler.CancelFetch:
		return fmt.Sprintf("cancel %d at %s", e.Piece, e.Peer)
	case scheduler.Reclaim:
		return fmt.Sprintf("reclaim %d from %s", e.Piece, e.Peer)
	case scheduler.Verify:
		return fmt.Sprintf("verify %d of %s", e.Piece, e.Peer)
	case scheduler.Ban:
		return fmt.Sprintf("ban %s for %v, %s", e.Peer, e.For, e.Code)
	case scheduler.FindPeers:
		return "find peers"
	case scheduler.Finish:
		return "finish"
	case scheduler.Fail:
		return fmt.Sprintf("fail: %v (%s)", e.Err, e.Err.Code)
	}
	return fmt.Sprintf("%T", e)
}

func number(t *testing.T, word string) int {
	t.Helper()
	n, err := strconv.Atoi(word)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
