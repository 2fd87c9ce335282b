package sim

import (
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"testing"

	logging "github.com/ipfs/go-log/v2"
)

var loud = flag.Bool("loud", false, "let the trackers log")

// TestMain keeps the logs of trackers out of the report: in worlds that fail on
// purpose they are many.
func TestMain(m *testing.M) {
	flag.Parse()
	if !*loud {
		logging.SetAllLoggers(logging.LevelFatal)
	}
	if raceEnabled {
		// The race detector and virtual time do not go together on several
		// processors yet.
		runtime.GOMAXPROCS(1)
	}
	debug.SetGCPercent(400) // a world has little that stays, and makes a lot that does not
	os.Exit(m.Run())
}
