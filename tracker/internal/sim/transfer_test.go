package sim

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// pupil is a member of the one group of a class, with a node that can be
// switched off like a computer.
type pupil struct {
	*node.Node
	w    *people
	name string
	id   peer.ID
	key  crypto.PrivKey
	opts []node.Option
	host host.Host // nil while it is off
}

// newClass makes trackers for the members of one group, on a lan.
func newClass(t *testing.T, trackers int) *people { return newPeopleOver(t, newLAN(), trackers) }

// pupil makes one more member; the first owns the group.
func (w *people) pupil(owner *pupil, name string, opts ...node.Option) *pupil {
	w.t.Helper()
	n := len(w.ids)
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(n)}, ed25519.SeedSize)))
	w.ok(err)
	id, err := peer.IDFromPrivateKey(key)
	w.ok(err)
	w.ids = append(w.ids, id)
	p := &pupil{w: w, name: name, id: id, key: key, opts: opts}
	p.on()
	w.t.Cleanup(p.off)
	ctx := w.t.Context()
	w.do(p.CreateUser(ctx, name, "password of "+name))
	w.do(p.Login(ctx, name, "password of "+name))
	if owner == nil {
		w.do(p.CreateGroup(ctx, "g"))
		return p
	}
	w.do(p.JoinGroup(ctx, "g"))
	w.do(owner.AcceptRequest(ctx, "g", name))
	w.eventually("the membership is known", func() bool { _, err := p.Files(ctx, "g"); return err == nil })
	return p
}

func (p *pupil) dir(what string) string { return filepath.Join(p.w.dir, p.name+"-"+what) }

// on starts the node over what its folder holds.
func (p *pupil) on() {
	p.w.t.Helper()
	var err error
	p.host, err = p.w.net.open(p.key)
	p.w.ok(err)
	p.w.ok(os.MkdirAll(p.dir("downloads"), 0o700))
	p.Node, err = node.New(append([]node.Option{
		node.WithDataDir(p.dir("data")), node.WithDownloadDir(p.dir("downloads")),
		node.WithTrackerEntries(p.w.entries...), node.WithHost(p.host), node.WithWorkers(1),
	}, p.opts...)...)
	p.w.ok(err)
}

// off ends the node with nobody being told.
func (p *pupil) off() {
	if p.host == nil {
		return
	}
	_ = p.host.Close()
	p.host = nil
	if err := p.Close(); err != nil {
		p.w.t.Errorf("close the node of %s: %v", p.name, err)
	}
}

// share offers a file of so many random bytes, the same for all.
func (p *pupil) share(size int) (path string) {
	p.w.t.Helper()
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(content)
	path = filepath.Join(p.dir("files"), "f.bin")
	p.w.ok(os.MkdirAll(filepath.Dir(path), 0o700))
	p.w.ok(os.WriteFile(path, content, 0o600))
	_, _, err := p.Share(p.w.t.Context(), "g", path, nil)
	p.w.ok(err)
	return path
}

func (p *pupil) fetch() *node.Download {
	p.w.t.Helper()
	d, err := p.Download(p.w.t.Context(), "g", "f.bin", "")
	p.w.ok(err)
	return d
}

// finish waits for a download and compares the copy.
func (p *pupil) finish(d *node.Download, limit time.Duration, path string) {
	p.w.t.Helper()
	ctx, cancel := context.WithTimeout(p.w.t.Context(), limit)
	defer cancel()
	res, err := d.Wait(ctx)
	if err != nil {
		p.w.t.Fatalf("%s: %v; %+v", p.name, err, d.Progress())
	}
	want, err := os.ReadFile(path)
	p.w.ok(err)
	got, err := os.ReadFile(res.Path)
	p.w.ok(err)
	if !bytes.Equal(got, want) {
		p.w.t.Errorf("the copy of %s is wrong", p.name)
	}
}

// All trackers are away for ten minutes: a running download goes on all the
// time, also over a stream that is opened meanwhile.
func TestTrackersAwayForTenMinutes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const rate = 64 << 10 // bytes a second: a piece takes 8 s
		w := newClass(t, 2)
		ada := w.pupil(nil, "ada", node.WithUploadLimit(rate))
		bob := w.pupil(ada, "bob")
		path := ada.share(13 * 60 * rate)
		d := bob.fetch()
		w.eventually("the first pieces are there", func() bool { return d.Progress().Done > 0 })
		for _, tr := range w.trackers {
			w.ok(tr.Close())
		}
		began, last, stood, renewed := time.Now(), time.Now(), time.Duration(0), false
		for done := d.Progress().Done; time.Since(began) < 10*time.Minute; time.Sleep(100 * time.Millisecond) {
			p := d.Progress()
			if p.State == node.Failed || p.State == node.Complete {
				t.Fatalf("%v after the trackers went: %+v", time.Since(began), p)
			}
			if p.Done > done {
				stood, last, done = max(stood, time.Since(last)), time.Now(), p.Done
			}
			if !renewed && time.Since(began) > 4*time.Minute {
				renewed = true
				w.ok(d.Pause(t.Context()))
				w.ok(d.Resume())
			}
		}
		t.Logf("%d of %d bytes in ten minutes without trackers; the longest time without a piece was %v", d.Progress().Done, d.Progress().Total, stood)
		if stood > 20*time.Second {
			t.Errorf("the download stood still for %v", stood)
		}
		bob.finish(d, 5*time.Minute, path)
	})
}

// All seeders are switched off at half; one is switched on a minute later.
func TestSeederReturnsAfterAMinute(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newClass(t, 1)
		ada := w.pupil(nil, "ada", node.WithUploadLimit(1<<20))
		carol := w.pupil(ada, "carol", node.WithUploadLimit(1<<20))
		bob := w.pupil(ada, "bob")
		path := ada.share(24 << 20)
		carol.share(24 << 20)
		d := bob.fetch()
		w.eventually("half of it is there", func() bool { return d.Progress().Done >= 12<<20 })
		ada.off()
		carol.off()
		w.eventually("it waits", func() bool {
			p := d.Progress()
			return p.State == node.Waiting && p.Reason == protocol.CodeNoSeeders && p.Message != ""
		})
		had := d.Progress().Done
		time.Sleep(time.Minute)
		if p := d.Progress(); p.State != node.Waiting || p.Done != had || had == p.Total {
			t.Errorf("without a seeder: %+v, it had %d", p, had)
		}
		carol.on()
		back := time.Now()
		bob.finish(d, time.Minute, path)
		t.Logf("complete %v after a seeder was back, with %d of %d bytes to go", time.Since(back), d.Progress().Total-had, d.Progress().Total)
	})
}

// Every seeder has wrong data and does not know it.
func TestEverySeederIsWrong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newClass(t, 1)
		ada := w.pupil(nil, "ada")
		carol := w.pupil(ada, "carol")
		bob := w.pupil(ada, "bob")
		for _, p := range []*pupil{ada, carol} {
			spoil(w, p.share(4<<20))
		}
		began := time.Now()
		d := bob.fetch()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := d.Wait(ctx)
		if protocol.CodeOf(err) != protocol.CodeBadData {
			t.Errorf("got %v, want %s", err, protocol.CodeBadData)
		}
		t.Logf("after %v: %v", time.Since(began), err)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %v", took)
		}
		if p := d.Progress(); p.State != node.Failed || p.Reason != protocol.CodeBadData || p.Message == "" || p.Done != 0 {
			t.Errorf("got %+v", p)
		}
		if _, err := os.Stat(filepath.Join(bob.dir("downloads"), "f.bin")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is there: %v", err)
		}
	})
}

// spoil flips a bit in every piece of a file so that its share notices nothing.
func spoil(w *people, path string) {
	w.t.Helper()
	info, err := os.Stat(path)
	w.ok(err)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	w.ok(err)
	b := make([]byte, 1)
	for off := int64(100); off < info.Size(); off += protocol.MinPieceLength {
		_, err := f.ReadAt(b, off)
		w.ok(err)
		b[0] ^= 1
		_, err = f.WriteAt(b, off)
		w.ok(err)
	}
	w.ok(errors.Join(f.Close(), os.Chtimes(path, time.Time{}, info.ModTime())))
}

// One of four seeders freezes after its first bytes, its connection open: the
// download takes at most five seconds more than without it.
func TestFrozenSeederCostsLittle(t *testing.T) {
	fetch := func(t *testing.T, seeders int, freeze bool) (took time.Duration) {
		bubble(t, func(t *testing.T) {
			w := newClass(t, 1)
			var all []*pupil
			var path string
			for _, name := range []string{"ada", "carol", "dave", "eve"}[:seeders] {
				var owner *pupil
				if len(all) > 0 {
					owner = all[0]
				}
				p := w.pupil(owner, name, node.WithUploadLimit(1<<20))
				path = p.share(24 << 20)
				all = append(all, p)
			}
			bob := w.pupil(all[0], "bob")
			began := time.Now()
			d := bob.fetch()
			if freeze {
				w.eventually("some of it is there", func() bool { return d.Progress().Done > 0 })
				last := all[seeders-1]
				w.net.cut(last.id, bob.id)
				w.net.cut(bob.id, last.id)
			}
			bob.finish(d, time.Hour, path)
			took = time.Since(began)
		})
		return took
	}
	without, frozen := fetch(t, 3, false), fetch(t, 4, true)
	t.Logf("with three seeders %v, with one more that freezes %v", without, frozen)
	if frozen > without+5*time.Second {
		t.Errorf("a frozen seeder cost %v", frozen-without)
	}
}
