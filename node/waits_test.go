package node_test

import (
	"os"
	"testing"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// A download that is taken up while something is missing for the moment waits,
// says for what, and goes on by itself.
func TestPassingFaultsAtTheStart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		fail, mend func(w *world, folder string)
		want       protocol.Code
	}{
		{
			"the disk of the folder", func(w *world, folder string) { w.ok(os.Rename(folder, folder+".away")) },
			func(w *world, folder string) {
				w.ok(os.Rename(folder+".away", folder))
			}, protocol.CodeNotFound,
		},
		{
			"the description, and all trackers", func(w *world, _ string) {
				w.change("bob", func(r *records.Records, d *records.Download) {
					w.ok(r.PutManifest(d.File, []byte("spoiled")))
				})
				w.ok(w.trackers[0].Close())
			}, func(w *world, _ string) { w.restartTracker(1) }, protocol.CodeNoTracker,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			ada, seeding := w.stalling("ada")
			bob := w.user("bob", node.WithDownloadDir(w.folder("target")))
			w.group("g", ada, bob)
			d := w.running(ada, bob)
			folder := d.Dir()
			w.ok(bob.Close())
			close(seeding.release)
			tt.fail(w, folder)
			bob = w.node("bob")
			d = bob.onlyDownload()
			w.eventually("it waits", func() bool {
				p := d.Progress()
				return p.State == node.Waiting && p.Reason == tt.want && p.Message != ""
			})
			tt.mend(w, folder)
			w.same(bob.finish(d), w.source("big.bin"))
		})
	}
}
