package rogue_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/netns"
	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/rogue"
	processes "github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/protocol"
)

// mostMemory is what one attacking address may make a process take beyond what it
// took before.
const mostMemory = 64 << 20

// mostLogin is how long an account and a login may take at another address
// meanwhile: two hashes, each of which waits for a turn.
const mostLogin = 10 * time.Second

// flood is what one address sends.
type flood struct{ conns, streams, logins int }

// TestFloods has the attacker at an address of his own, and honest clients at
// another one. Where no hosts can be made all is on loopback, for which no
// limit of an address holds: then it sends less than one address could.
func TestFloods(t *testing.T) {
	if reason := netns.Missing(); reason != "" {
		t.Log("from loopback: " + reason)
		runFlood(t, hosts{}, flood{100, 1_000, 40})
		return
	}
	much := flood{260, 2_600, 100}
	if raceFactor > 1 { // what an address may have at most is not what that is about
		much = flood{100, 1_000, 40}
	}
	runFlood(t, newHosts(t), much)
}

// TestLongFloods has the numbers that are promised, and what is worse than that.
func TestLongFloods(t *testing.T) {
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("opens a thousand hosts: run it with make long")
	}
	f, crowd := runFlood(t, newHosts(t), flood{1_000, 10_000, 200})
	for _, streams := range []struct {
		what                string
		toTracker, toSeeder []byte
	}{
		// What is read into memory, but for its end: headers, and a first message.
		{"begun requests", []byte("POST / HTTP/1.1\r\nx: " + strings.Repeat("x", 15<<10)), []byte("\xff\x0f" + strings.Repeat("x", 2046))},
		// As much as a stream takes without being read.
		{"filled streams", bytes.Repeat([]byte{0x80}, 1<<20), bytes.Repeat([]byte{0x80}, 1<<20)},
	} {
		t.Run(streams.what, func(t *testing.T) {
			f.openStreams(t, crowd, 10_000, streams.toTracker, streams.toSeeder)
			f.honestWork(t, streams.what)
			crowd.Hangup()
		})
	}
}

// hosts is who is where; nobody's is loopback.
type hosts struct{ tracker, seeder, honest, attacker *netns.Host }

func newHosts(t *testing.T) hosts {
	t.Helper()
	l := netns.New(t, "tracker", "seeder", "honest", "attacker")
	return hosts{l.Host("tracker"), l.Host("seeder"), l.Host("honest"), l.Host("attacker")}
}

// flooded is the victims and who is honest beside the flood.
type flooded struct {
	*world
	hosts
	victims map[string]*processes.Proc
	before  map[string]int64 // memory
	bob     *processes.Proc  // who was there before
	seeder  peer.AddrInfo
	files   map[string][]byte
}

// runFlood has a tracker and a seeder, each a process, meet idle connections,
// opened streams and a storm of logins, while honest clients come and work. It
// returns the attacker's peers that have been let in everywhere.
func runFlood(t *testing.T, at hosts, much flood) (*flooded, rogue.Crowd) {
	f := newFlooded(t, at)
	crowd := rogue.NewCrowd(t, at.attacker, much.conns)
	t.Run("idle connections", func(t *testing.T) {
		inside := crowd.Idle(f.trackerInfo())
		beside := inside.Idle(f.seeder)
		t.Logf("the tracker let %d of %d in, the seeder %d of those", len(inside), much.conns, len(beside))
		f.honestWork(t, "idle connections")
		crowd = beside
	})
	t.Run("opened streams", func(t *testing.T) {
		f.openStreams(t, crowd, much.streams, []byte{'P'}, []byte{0x7f})
		f.honestWork(t, "opened streams")
		crowd.Hangup()
	})
	t.Run("logins", func(t *testing.T) {
		codes := map[protocol.Code]int{}
		var storm sync.WaitGroup
		storm.Go(func() {
			for _, err := range crowd.Logins(f.trackerInfo(), much.logins) {
				codes[protocol.CodeOf(err)]++
			}
		})
		time.Sleep(100 * time.Millisecond) // it is under way
		f.honestWork(t, "logins")
		storm.Wait()
		t.Logf("the outcomes of %d logins: %v", much.logins, codes)
		if codes[""] > 0 || codes[protocol.CodeAuth]+codes[protocol.CodeBusy] == 0 {
			t.Errorf("of %d logins with wrong passwords came %v", much.logins, codes)
		}
	})
	return f, crowd
}

func (f *flooded) openStreams(t *testing.T, crowd rogue.Crowd, n int, toTracker, toSeeder []byte) {
	t.Logf("%d of %d could be opened at the tracker, %d at the seeder",
		crowd.Streams(f.trackerInfo(), n, protocol.TrackerProtocol, toTracker), n,
		crowd.Streams(f.seeder, n, protocol.PieceProtocol, toSeeder))
}

func newFlooded(t *testing.T, at hosts) *flooded {
	t.Helper()
	w := &world{TB: t, dir: t.TempDir()}
	address := ""
	if at.tracker != nil {
		address = at.tracker.Addr + ":5000"
	}
	w.entry, w.key = w.list(1, address)
	w.roster = filepath.Join(w.dir, "tracker_info.txt")
	w.ok(os.WriteFile(w.roster, []byte(w.entry.Text+"\n"), 0o600))
	f := &flooded{world: w, hosts: at, victims: map[string]*processes.Proc{}, before: map[string]int64{}, files: map[string][]byte{}}
	f.victims["tracker"], _ = w.start(at.tracker, "tracker", w.folder("tracker-1"))
	for _, name := range []string{"f.bin", "g.bin"} {
		_, _, f.files[name] = w.file(name, 4<<20)
	}
	f.victims["seeder"], _ = w.start(at.seeder, "seeder", w.folder("files"))
	warm := rogue.NewCrowd(t, at.honest, 8)
	mia := warm[0].Use(f.trackerInfo()).Enter("mia")
	mia.Join("g")
	w.eventually("mia is a member", func() bool {
		_, err := rogue.Do(mia, mia.At().ListFiles, listFiles("g"))
		return err == nil
	})
	group, file := mia.Find("g", "f.bin")
	f.seeder = w.where(mia, group, file)
	// What any use takes is there before the flood: buffers, and memory to hash in.
	var running sync.WaitGroup
	for _, p := range warm {
		running.Go(func() { p.Use(f.trackerInfo()).Login("mia") })
	}
	running.Wait()
	f.bob = f.member("bob", "f.bin")
	for name, p := range f.victims {
		f.before[name] = max(p.Memory(), p.PeakMemory())
	}
	return f
}

// member is somebody who comes, fetches a file, and stays.
func (f *flooded) member(user, file string) *processes.Proc {
	f.Helper()
	dir := f.folder("member-" + user)
	p, said := f.start(f.honest, "member", dir, "ROGUE_USER="+user, "ROGUE_FILE="+file)
	f.Logf("%s was%s", user, said)
	var login float64
	if _, err := fmt.Sscanf(said, " after %f s", &login); err != nil || login > promise.Within(mostLogin).Seconds() {
		f.Errorf("%s was not logged in within %v: %v", user, mostLogin, err)
	}
	got, err := os.ReadFile(filepath.Join(dir, file))
	f.ok(err)
	if !bytes.Equal(got, f.files[file]) {
		f.Errorf("what %s has is not the file", user)
	}
	return p
}

// honestWork has somebody who comes now log in, join, and fetch a file which the seeder alone
// has, and looks at what the victims take meanwhile.
func (f *flooded) honestWork(t *testing.T, during string) {
	t.Helper()
	w := *f.world
	w.TB = t
	now := *f
	now.world = &w
	now.member("late-"+strings.ReplaceAll(during, " ", "-"), "g.bin").Kill()
	began := time.Now()
	w.ok(f.bob.Write("files?"))
	if line, err := f.bob.Line(t.Context()); err != nil || line != "<nil>" {
		t.Errorf("somebody who was there before: %q, %v", line, err)
	}
	t.Logf("somebody who was there before had an answer after %v", time.Since(began).Round(time.Millisecond))
	for name, p := range f.victims {
		took := p.PeakMemory() - f.before[name]
		t.Logf("the %s took %d MiB at most, %d MiB more than before", name, p.PeakMemory()>>20, took>>20)
		if most := int64(raceFactor * mostMemory); took > most {
			t.Errorf("the %s took %d MiB more than before, %d are allowed", name, took>>20, most>>20)
		}
	}
}
