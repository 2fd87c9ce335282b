package crowd_test

import (
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/p2pshare/p2pshare/internal/reexec"
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
	Allocated  int64 // bytes since the start, which "collect" tells as well
	Logins     int   // passwords checked or hashed, by the activity log
	CPU        time.Duration
}

// beTracker runs a tracker until there are no more requests.
func beTracker(parent *reexec.Parent) error {
	var job trackerJob
	if err := parent.Job(&job); err != nil {
		return err
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
	if err := parent.Answer("ready"); err != nil {
		return err
	}
	for request, ok := parent.Next(); ok; request, ok = parent.Next() {
		switch request {
		case "status", "collect":
			var mem runtime.MemStats
			if request == "collect" {
				runtime.GC()
				runtime.ReadMemStats(&mem)
			}
			s := t.Status()
			err = parent.Answer(trackerState{
				Serving: s.Serving, Connected: s.Connected, Online: s.Online,
				Goroutines: runtime.NumGoroutine(), Heap: int64(mem.HeapAlloc), Allocated: int64(mem.TotalAlloc), Logins: logins.get(), CPU: cpuTime(),
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
