package rogue_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/rogue"
	processes "github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// mostMemory is what one attacking address may make a process take beyond
	// what it took before.
	mostMemory = 64 << 20
	// connsPerAddress is how many connections an address may have at a process
	// (package host) unless it is of the same machine, as here: so many more count
	// as one address more.
	connsPerAddress = 256
)

// A tracker and a seeder, each a process, meet idle connections, opened
// streams and a storm of logins, all from one address. The numbers promised
// are those of the long test.
func TestFloods(t *testing.T) { floods(t, 100, 1_000, 40) }

func TestLongFloods(t *testing.T) {
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("opens a thousand hosts: run it with make long")
	}
	floods(t, 1_000, 10_000, 200)
}

// flooded is the victims and who is honest beside the flood.
type flooded struct {
	*world
	victims map[string]*processes.Proc
	before  map[string]int64
	bob     *honest
	allowed int64 // more memory
	seeder  peer.AddrInfo
	data    []byte // of f.bin, which bob has, too
	other   []byte // of g.bin
}

func floods(t *testing.T, conns, streams, logins int) {
	f := newFlooded(t)
	f.allowed = raceFactor * mostMemory * int64((conns+connsPerAddress-1)/connsPerAddress)
	crowd := rogue.NewCrowd(t, conns)
	t.Run("idle connections", func(t *testing.T) {
		t.Logf("the tracker let %d of %d in, the seeder %d", crowd.Idle(f.trackerInfo()), conns, crowd.Idle(f.seeder))
		f.honestWork(t, "idle")
	})
	t.Run("opened streams", func(t *testing.T) {
		t.Logf("%d of %d could be opened at the tracker, %d at the seeder",
			crowd.Streams(f.trackerInfo(), streams, protocol.TrackerProtocol), streams,
			crowd.Streams(f.seeder, streams, protocol.PieceProtocol))
		f.honestWork(t, "streams")
	})
	t.Run("logins", func(t *testing.T) {
		codes := map[protocol.Code]int{}
		for _, err := range crowd[:min(len(crowd), 25)].Logins(f.trackerInfo(), logins, "ada") {
			codes[protocol.CodeOf(err)]++
		}
		t.Logf("the outcomes of %d logins: %v", logins, codes)
		if codes[""] > 0 {
			t.Errorf("%d logins with a wrong password succeeded", codes[""])
		}
		f.honestWork(t, "logins")
	})
}

func newFlooded(t *testing.T) *flooded {
	t.Helper()
	w := &world{TB: t, dir: t.TempDir()}
	w.entry, w.key = w.list(1)
	list := filepath.Join(w.dir, "tracker_info.txt")
	w.ok(os.WriteFile(list, []byte(w.entry.Text+"\n"), 0o600))
	f := &flooded{world: w, victims: map[string]*processes.Proc{}, before: map[string]int64{}}
	f.victims["tracker"] = w.start("tracker", list, w.folder("tracker-1"))
	var path string
	path, _, f.data = w.file("f.bin", 4<<20)
	_, _, f.other = w.file("g.bin", 4<<20)
	f.victims["seeder"] = w.start("seeder", list, filepath.Dir(path))
	mia := w.rogue().Enter("mia")
	mia.Join("g")
	f.bob = w.user("bob")
	_, err := f.bob.JoinGroup(t.Context(), "g")
	w.ok(err)
	w.eventually("both are members", func() bool {
		_, err1 := rogue.Do(mia, mia.At().ListFiles, listFiles("g"))
		_, err2 := f.bob.Files(t.Context(), "g")
		return err1 == nil && err2 == nil
	})
	group, file := mia.Find("g", "f.bin")
	f.seeder = w.where(mia, group, file)
	// What any use takes is there before the flood: buffers, and memory to hash in.
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() { w.rogue().Login("mia") })
	}
	running.Wait()
	f.bob.finish(f.bob.begin("g", "f.bin"), f.data)
	for name, p := range f.victims {
		f.before[name] = max(p.Memory(), p.PeakMemory())
	}
	return f
}

// honestWork has somebody who comes now log in, join, and fetch a file, and
// looks at what the victims take meanwhile.
func (f *flooded) honestWork(t *testing.T, during string) {
	t.Helper()
	began := time.Now()
	if _, err := f.bob.Files(t.Context(), "g"); err != nil {
		t.Errorf("%s: somebody who was there before: %v", during, err)
	}
	w := &world{TB: t, dir: f.dir, entry: f.entry}
	late := w.user("late-" + during)
	_, err := late.JoinGroup(t.Context(), "g")
	w.ok(err)
	w.eventually("the newcomer is a member", func() bool {
		_, err := late.Files(t.Context(), "g")
		return err == nil
	})
	late.finish(late.begin("g", "g.bin"), f.other) // which the seeder alone has
	t.Logf("a newcomer had an account, a membership and the file after %v", time.Since(began).Round(time.Millisecond))
	for name, p := range f.victims {
		took := p.PeakMemory() - f.before[name]
		t.Logf("the %s took %d MiB at most, %d MiB more than before", name, p.PeakMemory()>>20, took>>20)
		if took > f.allowed {
			t.Errorf("%s: the %s took %d MiB more than before, %d are allowed", during, name, took>>20, f.allowed>>20)
		}
	}
}
