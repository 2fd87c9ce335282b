package main_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/protocol"
)

// copyFile copies a file to a folder of its own, and returns the copy's path.
func (n *network) copyFile(path, folder string) string {
	n.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		n.t.Fatal(err)
	}
	to := filepath.Join(n.Dir, folder, filepath.Base(path))
	if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, b, 0o644)); err != nil {
		n.t.Fatal(err)
	}
	return to
}

// flip changes a bit in every piece of a file in a way that its share cannot
// notice: size, time and inode stay.
func (n *network) flip(path string) {
	n.t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		n.t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		n.t.Fatal(err)
	}
	for i := 0; i < len(b); i += protocol.MinPieceLength {
		b[i+(i/protocol.MinPieceLength)%1000] ^= 1
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	_, err = f.WriteAt(b, 0)
	if err := errors.Join(err, f.Close(), os.Chtimes(path, time.Time{}, info.ModTime())); err != nil {
		n.t.Fatal(err)
	}
}

// shareAll makes each of the clients a seeder of one file.
func (n *network) shareAll(group, path string, clients ...*world.Client) {
	n.t.Helper()
	for _, c := range clients {
		n.do(c, fmt.Sprintf("upload_file %s %s", group, path))
	}
}

// settled waits until a download is in a state, for a reason.
func (n *network) settled(c *world.Client, limit time.Duration, state, reason string) (p progress) {
	n.t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for p = n.progress(c); p.State != state || p.Reason != reason; p = n.progress(c) {
		if time.Now().After(deadline) {
			n.t.Fatalf("%s: not %s %s within %v: %+v", c.Name, state, reason, limit, p)
		}
		<-tick.C
	}
	return p
}

// One of five seeders has a wrong bit in every piece.
func TestFlippedBits(t *testing.T) {
	apart(t)
	n := newNetwork(t, 1)
	c := n.users("lab", "ada", "bob", "carol", "dave", "eve", "fred")
	path, sum := n.file("data.bin", 64<<20, 2)
	n.shareAll("lab", path, c[:4]...)
	bad := n.copyFile(path, "bad")
	n.shareAll("lab", bad, c[4])
	n.flip(bad)
	n.quit(c[5]) // with a limit there is time to get to know all seeders
	fred := n.client("fred", "--download-limit", "16MiB")
	n.do(fred, "download_file lab data.bin &")
	peers := 0
	n.within(time.Minute, "the download is complete", func() bool {
		p := n.progress(fred)
		if p.State == "downloading" && p.Done > p.Size/4 && p.Done < p.Size {
			peers = p.Peers
		}
		return p.State == "complete"
	})
	if peers != 4 {
		t.Errorf("%d peers at the end, want the 4 honest ones", peers)
	}
	var r struct{ Downloads []world.Downloaded }
	n.do2(fred, "wait", &r)
	d := r.Downloads[0]
	if d.SHA1 != sum || d.Wasted == 0 || d.Wasted >= 8<<20 {
		t.Errorf("got %+v, want sha1 %s and less than 8 MiB wasted, but not nothing", d, sum)
	}
	gave := map[string]int{}
	for _, p := range d.Peers {
		gave[p.User] = p.Pieces
	}
	if gave["eve"] > 0 || gave["ada"] == 0 || gave["bob"] == 0 || gave["carol"] == 0 || gave["dave"] == 0 {
		t.Errorf("pieces from %v, want some from each but eve", gave)
	}
	n.wantSHA1(d.Path, sum)
}

// TestLongEverybodyIsWrong takes as long as a download hopes for somebody
// better; the same in virtual time is a test of package swarm.
func TestLongEverybodyIsWrong(t *testing.T) {
	long(t)
	n := newNetwork(t, 1)
	c := n.users("lab", "ada", "bob", "carol")
	path, _ := n.file("data.bin", 16<<20, 2)
	for i, folder := range []string{"one", "two"} {
		bad := n.copyFile(path, folder)
		n.shareAll("lab", bad, c[i])
		n.flip(bad)
	}
	n.refuse(c[2], "download_file lab data.bin", protocol.CodeBadData)
	if _, err := os.Stat(filepath.Join(c[2].Downloads, "data.bin")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
}

// All seeders are killed at half; one comes back after away.
func allSeedersLeave(t *testing.T, away time.Duration) {
	t.Helper()
	n := newNetwork(t, 1)
	c := n.users("lab", "ada", "bob", "carol")
	n.quit(c[2])
	carol := n.client("carol", "--download-limit", "4MiB")
	path, sum := n.file("data.bin", 24<<20, 7)
	n.shareAll("lab", path, c[0], c[1])
	n.do(carol, "download_file lab data.bin &")
	n.within(time.Minute, "half of it is there", func() bool {
		p := n.progress(carol)
		return p.Size > 0 && p.Done > p.Size*2/5
	})
	c[0].Kill()
	c[1].Kill()
	had := n.settled(carol, 20*time.Second, "waiting", string(protocol.CodeNoSeeders))
	if had.Done == had.Size {
		t.Fatal("the download was complete before the seeders left")
	}
	<-time.After(away) // how long they are away is what this is about
	if p := n.progress(carol); p.Done != had.Done || p.State != "waiting" {
		t.Errorf("without any seeder %+v became %+v", had, p)
	}
	n.client("bob") // a new process shares again by itself
	back := time.Now()
	n.settled(carol, time.Minute, "complete", "")
	t.Logf("complete %v after a seeder was back", time.Since(back).Round(time.Millisecond))
	n.wantSHA1(filepath.Join(carol.Downloads, "data.bin"), sum)
}

func TestAllSeedersLeave(t *testing.T) {
	apart(t)
	allSeedersLeave(t, 2*time.Second)
}

func TestLongAllSeedersLeave(t *testing.T) {
	long(t)
	allSeedersLeave(t, time.Minute)
}

// TestSourceChanges alters a file while it is served.
func TestSourceChanges(t *testing.T) {
	apart(t)
	n := newNetwork(t, 1)
	c := n.users("lab", "ada", "bob", "carol")
	n.quit(c[1])
	bob := n.client("bob", "--download-limit", "2MiB")
	for i, tt := range []struct {
		name  string
		alter func(path string) error
	}{
		{"edited", func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("something else"), 6<<20-100)
			return errors.Join(err, f.Close())
		}},
		{"truncated", func(path string) error { return os.Truncate(path, 4<<20) }},
		{"replaced", func(path string) error {
			other, _ := n.file("other", 6<<20, 99)
			return os.Rename(other, path)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := tt.name + ".bin"
			path, sum := n.file(name, 6<<20, uint64(i))
			spare := n.copyFile(path, "spare")
			n.do(c[0], "upload_file lab "+path)
			n.do(bob, "download_file lab "+name+" &")
			n.eventually("some of it is there", func() bool { p := n.progress(bob); return p.Name == name && p.Done > 0 })
			if err := tt.alter(path); err != nil {
				t.Fatal(err)
			}
			// Nobody asks the seeder for its shares, which would look at the file.
			if p := n.settled(bob, 10*time.Second, "waiting", string(protocol.CodeNoSeeders)); p.Done == p.Size {
				t.Fatal("the download was complete before its source changed")
			}
			n.eventually("trackers know that the share is withdrawn", func() bool { return n.offering(bob, name) == 0 })
			var r struct {
				Shares []struct{ Name, State, Reason string }
			}
			n.do2(c[0], "list_shares", &r)
			at := slices.IndexFunc(r.Shares, func(s struct{ Name, State, Reason string }) bool { return s.Name == name })
			if at < 0 || r.Shares[at].State != "stopped" || r.Shares[at].Reason == "" {
				t.Errorf("shares %+v", r.Shares)
			}
			n.do(c[2], "upload_file lab "+spare)
			n.settled(bob, time.Minute, "complete", "")
			n.wantSHA1(filepath.Join(bob.Downloads, name), sum)
		})
	}
}

// do2 runs a command whose result is wanted.
func (n *network) do2(c *world.Client, command string, result any) {
	n.t.Helper()
	if err := c.Do(n.ctx, command, result); err != nil {
		n.t.Fatalf("%v\n%s", err, c.Stderr())
	}
}

// fetchedOf returns how many bytes of a file of size bytes came, the last piece
// counted as a whole one.
func fetchedOf(t *testing.T, d world.Downloaded, size int64) (bytes int64) {
	t.Helper()
	length, err := protocol.PieceLengthFor(size)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Peers {
		bytes += int64(p.Pieces) * length
	}
	return bytes
}

// killAtRandom kills a client at so many moments of its downloads, each time
// another one, and lets each go on. Kills that came after the end do not count.
func killAtRandom(t *testing.T, n *network, times int, size int64) {
	t.Helper()
	c := n.users("lab", "ada", "bob")
	path, sum := n.file("data.bin", size, 3)
	n.do(c[0], "upload_file lab "+path)
	bob := c[1]
	began := time.Now()
	n.download(bob, "lab", "data.bin")
	whole := time.Since(began)
	seed := rand.Uint64()
	t.Logf("seed %d; undisturbed the download takes %v", seed, whole.Round(time.Millisecond))
	rng := rand.New(rand.NewPCG(seed, 0))
	target, interrupted, twice := filepath.Join(bob.Downloads, "data.bin"), 0, int64(0)
	kills := 0
	for ; interrupted < times; kills++ {
		n.do(bob, "stop_share lab data.bin")
		if err := os.Remove(target); err != nil {
			t.Fatal(err)
		}
		n.do(bob, "download_file lab data.bin &")
		<-time.After(time.Duration(rng.Int64N(int64(whole)))) // the moment is what is tried
		had := n.progress(bob)
		bob.Kill()
		bob = n.client("bob")
		var r struct{ Downloads []world.Downloaded }
		n.do2(bob, "wait", &r)
		if len(r.Downloads) == 0 {
			whole -= whole / 5
		}
		for _, d := range r.Downloads {
			interrupted++
			fetched := fetchedOf(t, d, size)
			twice = max(twice, fetched-(size-had.Done))
			if fetched > size-had.Done+16<<20 {
				t.Errorf("kill %d: fetched %d bytes after the restart, %d were missing", kills, fetched, size-had.Done)
			}
		}
		n.wantSHA1(target, sum)
		entries, err := os.ReadDir(bob.Downloads)
		if err != nil || len(entries) != 1 {
			t.Errorf("kill %d: the folder holds %v, %v", kills, entries, err)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d of %d kills came before the end; at most %d KiB were fetched twice", interrupted, kills, twice>>10)
}

func TestKilledAtRandomMoments(t *testing.T) {
	apart(t)
	killAtRandom(t, newNetwork(t, 1), 20, 32<<20)
}

func TestLongKilledAtRandomMoments(t *testing.T) {
	long(t)
	n := newNetwork(t, 1)
	n.ctx = t.Context()
	killAtRandom(t, n, 200, 64<<20)
}

// sessionsEach is how many clients of one user are logged in at a time.
const sessionsEach = 8

// manyAtOnce lets so many clients fetch one file of one seeder at the same time.
func manyAtOnce(t *testing.T, n *network, clients int, size int64, slack time.Duration) {
	t.Helper()
	names := []string{"ada"}
	for len(names) <= (clients-1)/sessionsEach+1 {
		names = append(names, fmt.Sprintf("bob%d", len(names)))
	}
	all := n.users("lab", names...)
	path, sum := n.file("data.bin", size, 8)
	n.do(all[0], "upload_file lab "+path)
	all = all[1:]
	for i := len(all); i < clients; i++ {
		user := names[1+i%(len(names)-1)]
		one := n.client(fmt.Sprintf("%s-%d", user, i))
		n.do(one, fmt.Sprintf("login %s '%s'", user, password))
		all = append(all, one)
	}
	type ending struct {
		took time.Duration
		err  error
	}
	ends := make(chan ending, clients)
	began := time.Now()
	for _, one := range all {
		go func() {
			var d world.Downloaded
			err := one.Do(n.ctx, "download_file lab data.bin", &d)
			if err == nil && d.SHA1 != sum {
				err = fmt.Errorf("%s: sha1 %s, want %s", one.Name, d.SHA1, sum)
			}
			ends <- ending{time.Since(began), err}
		}()
	}
	var took []time.Duration
	var failed []string
	for range all {
		end := <-ends
		if end.err != nil {
			failed = append(failed, end.err.Error())
		}
		took = append(took, end.took)
	}
	if len(failed) > 0 {
		t.Fatal(strings.Join(failed, "\n"))
	}
	slices.Sort(took)
	median, slowest := took[len(took)/2], took[len(took)-1]
	t.Logf("%d clients, %d MiB: median %v, slowest %v", clients, size>>20, median.Round(time.Millisecond), slowest.Round(time.Millisecond))
	if slowest > 3*median+slack {
		t.Errorf("the slowest took %v, the median %v", slowest, median)
	}
}

// So short a download is at the mercy of the machine: hence some slack.
func TestManyClientsAtOnce(t *testing.T) {
	manyAtOnce(t, newNetwork(t, 1), 8, 8<<20, promise.Within(time.Second))
}

func TestLongFiftyClientsAtOnce(t *testing.T) {
	long(t)
	n := newNetwork(t, 1)
	n.ctx = t.Context()
	manyAtOnce(t, n, 50, 200<<20, 0)
}
