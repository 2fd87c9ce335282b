package shell_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/shell"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

func stuck(name string) *fakeDownload {
	return newDownload(node.Progress{
		Group: "docs", Name: name, State: node.Waiting, Reason: protocol.CodeNoSeeders, Message: "no member online has it", Total: 1000,
	})
}

func TestDownloadWaitsAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(false)
		d := stuck("a.bin")
		r.client.next = d
		go func() {
			time.Sleep(time.Minute)
			d.end(node.Result{Group: "docs", Name: "a.bin", Path: "/down/a.bin", Size: 1000}, nil)
		}()
		if err := r.Run(t.Context(), "download_file docs a.bin"); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(r.err.String(), "downloading a.bin: 0 %, waiting: no member online has it\n") {
			t.Errorf("errors %q", r.err)
		}
		// A line every five seconds at most, over a minute.
		if lines := strings.Count(r.err.String(), "\n"); lines < 2 || lines > 14 {
			t.Errorf("%d lines of progress", lines)
		}
		if !strings.HasPrefix(r.out.String(), "downloaded a.bin\t/down/a.bin\t1000\tsha1 ") {
			t.Errorf("output %q", r.out)
		}
	})
}

func TestDownloadTimeout(t *testing.T) {
	tests := []struct {
		name     string
		download *fakeDownload
		line     string
		code     protocol.Code
	}{
		{"waiting", stuck("a.bin"), "download_file --timeout 30s docs a.bin", protocol.CodeNoSeeders},
		{"slow", newDownload(node.Progress{Group: "docs", Name: "a.bin", State: node.Downloading, Done: 5, Total: 10}), "download_file --timeout 30s docs a.bin", protocol.CodeBusy},
		{"wait for all", stuck("a.bin"), "wait --timeout 30s", protocol.CodeNoSeeders},
		{"wait for one", stuck("a.bin"), "wait --timeout 30s DOCS a.bin", protocol.CodeNoSeeders},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(false)
				d := tt.download
				d.over, d.waited = make(chan struct{}), make(chan struct{}, 16)
				r.client.next, r.client.downloads = d, []shell.Download{d}
				start := time.Now()
				err := r.Run(t.Context(), tt.line)
				if protocol.CodeOf(err) != tt.code {
					t.Errorf("got %v, want %s", err, tt.code)
				}
				if passed := time.Since(start); passed != 30*time.Second {
					t.Errorf("it took %v", passed)
				}
				if !strings.Contains(r.err.String(), "; it goes on while this client runs, and when it starts again ("+string(tt.code)+")") {
					t.Errorf("errors %q", r.err)
				}
				// It did not end, so a later wait tells its end.
				d.end(node.Result{Group: "docs", Name: "a.bin", Path: "/down/a.bin", Size: 1000}, nil)
				if err := r.Run(t.Context(), "wait docs a.bin"); err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(r.out.String(), "downloaded a.bin\t") {
					t.Errorf("output %q", r.out)
				}
			})
		})
	}
}

// What a script began and left ends with it; those that are over or paused do not.
func TestTellUnfinished(t *testing.T) {
	const left = " (\"wait\" as the last command waits for it, --stay keeps the client running)\n"
	tests := []struct {
		name, user, want string
		state            node.State
	}{
		{"under way", "ada", "note: \"a.bin\" is not through; it goes on when this client starts again" + left, node.Downloading},
		{"waiting", "ada", "note: \"a.bin\" is not through; it goes on when this client starts again" + left, node.Waiting},
		{"logged out", "", "note: \"a.bin\" is not through; it goes on at the next login" + left, node.Downloading},
		{"paused", "ada", "", node.Paused},
		{"complete", "ada", "", node.Complete},
		{"failed", "ada", "", node.Failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(false)
			d := newDownload(node.Progress{Group: "docs", Name: "a.bin", State: node.Downloading, Total: 10})
			r.client.next, r.client.downloads = d, []shell.Download{d, stuck("of another run")}
			if err := r.Run(t.Context(), "download_file docs a.bin &"); err != nil {
				t.Fatal(err)
			}
			d.progress.State, r.client.user = tt.state, tt.user
			r.TellUnfinished()
			if got := r.err.String(); got != tt.want {
				t.Errorf("notes %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDownloadFails(t *testing.T) {
	r := newRig(false)
	d := stuck("a.bin")
	d.end(node.Result{}, protocol.Errorf(protocol.CodeRevoked, "you were removed from docs"))
	r.client.next = d
	if err := r.Run(t.Context(), "download_file docs a.bin"); !errors.Is(err, protocol.ErrRevoked) {
		t.Errorf("got %v, want E_REVOKED", err)
	}
	if got, want := r.err.String(), "error: you were removed from docs (E_REVOKED)\n"; got != want {
		t.Errorf("errors %q, want %q", got, want)
	}
}

func TestInterruptSendsToTheBackground(t *testing.T) {
	r := newRig(false)
	d := newDownload(node.Progress{Group: "docs", Name: "a.bin", State: node.Downloading, Total: 10})
	r.client.next = d
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-d.waited
		cancel(shell.ErrInterrupted)
	}()
	if err := r.Run(ctx, "download_file docs a.bin"); err != nil {
		t.Fatal(err)
	}
	if got := r.out.String(); got != "downloading a.bin\n" {
		t.Errorf("output %q", got)
	}
	if got := r.err.String(); got != "\"a.bin\" goes on in the background\n" {
		t.Errorf("notes %q", got)
	}
}

func TestInterruptedCommand(t *testing.T) {
	r := newRig(false)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(shell.ErrInterrupted)
	r.client.downloads = []shell.Download{stuck("a.bin")}
	if err := r.Run(ctx, "wait"); protocol.CodeOf(err) != protocol.CodeInternal {
		t.Errorf("got %v, want E_INTERNAL", err)
	}
	if got, want := r.err.String(), "error: interrupted before wait was done (E_INTERNAL)\n"; !strings.HasSuffix(got, want) {
		t.Errorf("errors %q, want %q at the end", got, want)
	}
}

func TestWait(t *testing.T) {
	t.Run("tells what ended in the background, once", func(t *testing.T) {
		r := newRig(false)
		r.client.next = finished("docs", "a.bin")
		for _, line := range []string{"download_file docs a.bin &", "wait", "wait"} {
			if err := r.Run(t.Context(), line); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := r.out.String(), "downloading a.bin\ndownloaded a.bin\t/down/a.bin\t1048576\tsha1 "+sha112+"\n"; got != want {
			t.Errorf("output %q, want %q", got, want)
		}
	})
	t.Run("nothing under way", func(t *testing.T) {
		r := newRig(true)
		if err := r.Run(t.Context(), "wait"); err != nil {
			t.Fatal(err)
		}
		if got, want := r.out.String(), `{"command":"wait","ok":true,"result":{"downloads":[]}}`+"\n"; got != want {
			t.Errorf("output %q, want %q", got, want)
		}
	})
	t.Run("no such download", func(t *testing.T) {
		r := newRig(false)
		if err := r.Run(t.Context(), "wait docs a.bin"); !errors.Is(err, protocol.ErrNotFound) {
			t.Errorf("got %v, want E_NOT_FOUND", err)
		}
	})
	t.Run("one of two fails", func(t *testing.T) {
		for _, asJSON := range []bool{false, true} {
			r := newRig(asJSON)
			bad := stuck("b.bin")
			r.client.next = bad
			if err := r.Run(t.Context(), "download_file docs b.bin &"); err != nil {
				t.Fatal(err)
			}
			r.client.next = finished("docs", "a.bin")
			if err := r.Run(t.Context(), "download_file docs a.bin &"); err != nil {
				t.Fatal(err)
			}
			bad.end(node.Result{}, protocol.Errorf(protocol.CodeBadData, "every peer sent wrong data"))
			r.out.Reset()
			if err := r.Run(t.Context(), "wait"); protocol.CodeOf(err) != protocol.CodeBadData {
				t.Errorf("got %v, want E_BAD_DATA", err)
			}
			want := "downloaded a.bin\t"
			if asJSON {
				want = `{"command":"wait","ok":false,"result":{"downloads":[{`
			}
			if !strings.HasPrefix(r.out.String(), want) {
				t.Errorf("output %q, want %q first", r.out, want)
			}
		}
	})
	t.Run("the latest of a name", func(t *testing.T) {
		r := newRig(false)
		old := stuck("a.bin")
		r.client.downloads = []shell.Download{old, finished("docs", "a.bin")}
		if err := r.Run(t.Context(), "wait docs a.bin"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestUploadShowsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(true)
		r.client.hashing = func(progress func(done, total int64)) {
			for done := int64(0); done <= 1000; done += 250 {
				progress(done, 1000)
				time.Sleep(time.Second)
			}
		}
		if err := r.Run(t.Context(), "upload_file docs /"); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(r.err.String()), "\n")
		last := object(t, lines[len(lines)-1])
		if last["progress"] != "hashing" || last["done"] != 1000.0 || last["size"] != 1000.0 || last["group"] != "docs" {
			t.Errorf("last progress %v", last)
		}
		if len(lines) < 5 || len(lines) > 30 {
			t.Errorf("%d lines of progress in 5 s", len(lines))
		}
	})
}

// What a download does before anything is fetched is listed as that.
func TestPreparingIsListed(t *testing.T) {
	r := newRig(false)
	r.client.downloads = []shell.Download{newDownload(node.Progress{
		Group: "docs", Name: "a.bin", State: node.Preparing, Message: "looking at what is on disk", Done: 5, Total: 10,
	})}
	if err := r.Run(t.Context(), "show_downloads -v"); err != nil {
		t.Fatal(err)
	}
	if want := "[D] [docs] a.bin\t50 %\tlooking at what is on disk\n"; r.out.String() != want {
		t.Errorf("got %q, want %q", r.out, want)
	}
}
