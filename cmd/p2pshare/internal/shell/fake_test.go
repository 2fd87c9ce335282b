package shell_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/shell"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// fakeClient answers from its fields and notes the calls in words.
type fakeClient struct {
	user      string // who is logged in
	stored    node.Stored
	err       error // of every call
	groups    []node.Group
	requests  []string
	members   []node.Member
	files     []node.File
	shares    []node.ShareInfo
	trackers  []node.TrackerInfo
	downloads []shell.Download
	next      shell.Download // what Download returns
	sessions  []node.Session
	events    chan node.Event
	hashing   func(progress func(done, total int64))

	mu    sync.Mutex
	calls []string
}

func (f *fakeClient) note(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fakeClient) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.calls, "; ")
}

func (f *fakeClient) CreateUser(_ context.Context, user, password string) (node.Stored, error) {
	return f.stored, f.note("CreateUser %s %s", user, password)
}

func (f *fakeClient) Login(_ context.Context, user, password string) (node.Stored, error) {
	if err := f.note("Login %s %s", user, password); err != nil {
		return node.Stored{}, err
	}
	f.user = user
	return f.stored, nil
}

func (f *fakeClient) Logout(context.Context) (node.Stored, error) {
	return f.stored, f.note("Logout")
}

func (f *fakeClient) User() (string, error) {
	if f.user == "" {
		return "", protocol.Errorf(protocol.CodeSession, "you are not logged in")
	}
	return f.user, nil
}

func (f *fakeClient) ChangePassword(_ context.Context, old, replacement string) (node.Stored, error) {
	return f.stored, f.note("ChangePassword %s %s", old, replacement)
}

func (f *fakeClient) Sessions(context.Context) ([]node.Session, error) {
	return f.sessions, f.note("Sessions")
}

func (f *fakeClient) RevokeSession(_ context.Context, id string) (node.Stored, error) {
	return f.stored, f.note("RevokeSession %s", id)
}

func (f *fakeClient) CreateGroup(_ context.Context, g string) (node.Stored, error) {
	return f.stored, f.note("CreateGroup %s", g)
}

func (f *fakeClient) Groups(context.Context) ([]node.Group, error) {
	return f.groups, f.note("Groups")
}

func (f *fakeClient) JoinGroup(_ context.Context, g string) (node.Stored, error) {
	return f.stored, f.note("JoinGroup %s", g)
}

func (f *fakeClient) LeaveGroup(_ context.Context, g string) (node.Stored, error) {
	return f.stored, f.note("LeaveGroup %s", g)
}

func (f *fakeClient) Requests(_ context.Context, g string) ([]string, error) {
	return f.requests, f.note("Requests %s", g)
}

func (f *fakeClient) AcceptRequest(_ context.Context, g, u string) (node.Stored, error) {
	return f.stored, f.note("AcceptRequest %s %s", g, u)
}

func (f *fakeClient) RejectRequest(_ context.Context, g, u string) (node.Stored, error) {
	return f.stored, f.note("RejectRequest %s %s", g, u)
}

func (f *fakeClient) Members(_ context.Context, g string) ([]node.Member, error) {
	return f.members, f.note("Members %s", g)
}

func (f *fakeClient) RemoveMember(_ context.Context, g, u string) (node.Stored, error) {
	return f.stored, f.note("RemoveMember %s %s", g, u)
}

func (f *fakeClient) TransferGroup(_ context.Context, g, u string) (node.Stored, error) {
	return f.stored, f.note("TransferGroup %s %s", g, u)
}

func (f *fakeClient) Share(_ context.Context, group, path string, progress func(done, total int64)) (node.Shared, node.Stored, error) {
	if err := f.note("Share %s %s", group, path); err != nil {
		return node.Shared{}, node.Stored{}, err
	}
	if f.hashing != nil {
		f.hashing(progress)
	}
	return node.Shared{
		Group: group, Name: "a b.bin", Path: "/data/a b.bin", Size: 524289, Pieces: 2, SHA1: protocol.SHA1{0xab}, ID: protocol.FileID{0xcd},
	}, f.stored, nil
}

func (f *fakeClient) Unshare(_ context.Context, g, n string) (node.Stored, error) {
	return f.stored, f.note("Unshare %s %s", g, n)
}
func (f *fakeClient) Shares() ([]node.ShareInfo, error) { return f.shares, f.note("Shares") }
func (f *fakeClient) Files(_ context.Context, g string) ([]node.File, error) {
	return f.files, f.note("Files %s", g)
}

func (f *fakeClient) Download(_ context.Context, group, name, dest string) (shell.Download, error) {
	if err := f.note("Download %s %s %q", group, name, dest); err != nil {
		return nil, err
	}
	return f.next, nil
}

func (f *fakeClient) Downloads() ([]shell.Download, error)        { return f.downloads, f.note("Downloads") }
func (f *fakeClient) Trackers(context.Context) []node.TrackerInfo { return f.trackers }

func (f *fakeClient) Watch(ctx context.Context) iter.Seq[node.Event] {
	return func(yield func(node.Event) bool) {
		for {
			select {
			case e := <-f.events:
				if !yield(e) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// fakeDownload stands where progress says until end is called.
type fakeDownload struct {
	mu       sync.Mutex
	progress node.Progress
	result   node.Result
	err      error
	steered  []string // what Pause, Resume and Cancel were called
	refuse   error    // what they answer
	over     chan struct{}
	waited   chan struct{} // gets a value for each Wait, if there is room
}

func newDownload(p node.Progress) *fakeDownload {
	return &fakeDownload{progress: p, over: make(chan struct{}), waited: make(chan struct{}, 16)}
}

// finished returns a download that is complete.
func finished(group, name string) *fakeDownload {
	d := newDownload(node.Progress{Group: group, Name: name, State: node.Downloading, Total: 1048576})
	d.end(node.Result{
		Group: group, Name: name, Path: "/down/" + name, Size: 1048576, SHA1: protocol.SHA1{0x12}, ID: protocol.FileID{0x34},
		Took: 1500e6, Wasted: 7, Peers: []node.PeerShare{{Peer: "12D3", User: "ada", Pieces: 2}},
	}, nil)
	return d
}

func (d *fakeDownload) end(r node.Result, err error) {
	d.mu.Lock()
	d.result, d.err = r, err
	if err != nil {
		d.progress.State, d.progress.Reason, d.progress.Message = node.Failed, protocol.CodeOf(err), err.Error()
	} else {
		d.progress.State, d.progress.Done = node.Complete, d.progress.Total
	}
	d.mu.Unlock()
	close(d.over)
}

func (d *fakeDownload) Progress() node.Progress {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.progress
}

func (d *fakeDownload) Wait(ctx context.Context) (node.Result, error) {
	select {
	case d.waited <- struct{}{}:
	default:
	}
	select {
	case <-d.over:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.result, d.err
	case <-ctx.Done():
		return node.Result{}, fmt.Errorf("wait: %w", ctx.Err())
	}
}

func (d *fakeDownload) Pause(context.Context) error  { return d.steer("Pause", node.Paused) }
func (d *fakeDownload) Resume() error                { return d.steer("Resume", node.Downloading) }
func (d *fakeDownload) Cancel(context.Context) error { return d.steer("Cancel", node.Failed) }

func (d *fakeDownload) steer(what string, to node.State) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steered = append(d.steered, what)
	if d.refuse == nil {
		d.progress.State = to
	}
	return d.refuse
}
