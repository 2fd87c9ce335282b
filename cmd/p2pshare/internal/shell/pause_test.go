package shell_test

import (
	"slices"
	"testing"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/shell"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestPausedDownload(t *testing.T) {
	r := newRig(false)
	d := newDownload(node.Progress{Group: "docs", Name: "a.bin", State: node.Downloading, Done: 5, Total: 10})
	r.client.downloads = []shell.Download{d}
	for _, line := range []string{"pause_download docs a.bin", "show_downloads", "show_downloads -v", "wait"} {
		if err := r.Run(t.Context(), line); err != nil {
			t.Fatal(err)
		}
	}
	// Nothing but a command lets it go on, so a wait for all leaves it out and
	// one for it alone is an error.
	if got, want := r.out.String(), "paused a.bin\n[D] [docs] a.bin\n[D] [docs] a.bin\t50 %\tpaused\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
	if err := r.Run(t.Context(), "wait docs a.bin"); protocol.CodeOf(err) != protocol.CodeBusy {
		t.Errorf("got %v, want E_BUSY", err)
	}
	if err := r.Run(t.Context(), "cancel_download docs a.bin"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"Pause", "Cancel"}; !slices.Equal(d.steered, want) {
		t.Errorf("calls %v, want %v", d.steered, want)
	}
}

func TestSteeringIsRefused(t *testing.T) {
	for _, command := range []string{"pause_download", "resume_download", "cancel_download"} {
		r := newRig(false)
		d := finished("docs", "a.bin")
		d.refuse = protocol.Errorf(protocol.CodeNotFound, "the download of \"a.bin\" is complete")
		r.client.downloads = []shell.Download{d}
		if err := r.Run(t.Context(), command+" docs a.bin"); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("%s: got %v, want E_NOT_FOUND", command, err)
		}
		if err := r.Run(t.Context(), command+" docs other"); protocol.CodeOf(err) != protocol.CodeNotFound || len(d.steered) != 1 {
			t.Errorf("%s: got %v after %v, want E_NOT_FOUND", command, err, d.steered)
		}
		if want := "error: the download of \"a.bin\" is complete (E_NOT_FOUND)\nerror: there is no download of \"other\" in \"docs\" (E_NOT_FOUND)\n"; r.err.String() != want {
			t.Errorf("errors %q", r.err)
		}
	}
}

func TestCancelledInTheBackgroundIsToldOnce(t *testing.T) {
	r := newRig(false)
	d := stuck("a.bin")
	r.client.next = d
	for _, line := range []string{"download_file docs a.bin &", "cancel_download docs a.bin"} {
		if err := r.Run(t.Context(), line); err != nil {
			t.Fatal(err)
		}
	}
	d.end(node.Result{}, protocol.Errorf(protocol.CodeNotFound, "the download was cancelled"))
	if err := r.Run(t.Context(), "wait"); err != nil {
		t.Errorf("got %v, though the end has been told", err)
	}
	if got, want := r.out.String(), "downloading a.bin\ncancelled a.bin\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
}
