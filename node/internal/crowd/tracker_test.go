package crowd_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
)

// trackerJob is the first line that a tracker process reads.
type trackerJob struct {
	Info, Dir  string
	Number     int
	Network    string
	MaxClients int
	Limits     map[string]string
	Profile    string // of the CPU, from "profile" to the end; empty: none
}

// trackerState is what a tracker process answers to "status".
type trackerState struct {
	Serving    bool
	Connected  int
	Online     int
	Goroutines int
	Heap       int64 // bytes in use behind a collection
	Logins     int   // passwords checked or hashed, by the activity log
	CPU        time.Duration
}

// beTracker runs a tracker until its input ends.
func beTracker(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Scan()
	var job trackerJob
	if err := json.Unmarshal(lines.Bytes(), &job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	entries, err := roster.Read(job.Info)
	if err != nil {
		return err
	}
	network, err := protocol.ParseID[protocol.NetworkID](job.Network)
	if err != nil {
		return err
	}
	var logins counter
	t, err := tracker.New(tracker.Config{
		Trackers: entries, Number: job.Number, Dir: job.Dir, NewNetwork: network,
		MaxClients: job.MaxClients, Limits: job.Limits,
		Log: func(a tracker.Activity) {
			switch a.What {
			case "login", "create_user", "change_password":
				logins.add()
			}
		},
	})
	if err != nil {
		return err
	}
	<-t.Ready()
	answers := json.NewEncoder(out)
	if err := answers.Encode("ready"); err != nil {
		return err
	}
	for lines.Scan() {
		switch lines.Text() {
		case "status", "collect":
			var mem runtime.MemStats
			if lines.Text() == "collect" {
				runtime.GC()
				runtime.ReadMemStats(&mem)
			}
			s := t.Status()
			err = answers.Encode(trackerState{
				Serving: s.Serving, Connected: s.Connected, Online: s.Online,
				Goroutines: runtime.NumGoroutine(), Heap: int64(mem.HeapAlloc), Logins: logins.get(), CPU: cpuTime(),
			})
		case "profile":
			var f *os.File
			if f, err = os.Create(job.Profile); err == nil {
				err = pprof.StartCPUProfile(f)
			}
		}
		if err != nil {
			return err
		}
	}
	pprof.StopCPUProfile()
	return t.Close()
}
