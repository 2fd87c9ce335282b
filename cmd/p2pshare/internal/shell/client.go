// Package shell is the command language of the client: words become calls on a
// small Client interface, and answers become lines or JSON objects. The binary
// runs it over scripts and terminals. It knows no network, and no command ends
// the process.
package shell

import (
	"context"
	"iter"

	"github.com/p2pshare/p2pshare/node"
)

// Client is what the commands need of a node.Node.
type Client interface {
	CreateUser(ctx context.Context, user, password string) (node.Stored, error)
	Login(ctx context.Context, user, password string) (node.Stored, error)
	Logout(ctx context.Context) (node.Stored, error)
	User() (string, error)
	ChangePassword(ctx context.Context, old, replacement string) (node.Stored, error)
	Sessions(ctx context.Context) ([]node.Session, error)
	RevokeSession(ctx context.Context, id string) (node.Stored, error)

	CreateGroup(ctx context.Context, group string) (node.Stored, error)
	Groups(ctx context.Context) ([]node.Group, error)
	JoinGroup(ctx context.Context, group string) (node.Stored, error)
	LeaveGroup(ctx context.Context, group string) (node.Stored, error)
	Requests(ctx context.Context, group string) ([]string, error)
	AcceptRequest(ctx context.Context, group, user string) (node.Stored, error)
	RejectRequest(ctx context.Context, group, user string) (node.Stored, error)
	Members(ctx context.Context, group string) ([]node.Member, error)
	RemoveMember(ctx context.Context, group, user string) (node.Stored, error)
	TransferGroup(ctx context.Context, group, user string) (node.Stored, error)

	Share(ctx context.Context, group, path string, progress func(done, total int64)) (node.Shared, node.Stored, error)
	Unshare(ctx context.Context, group, name string) (node.Stored, error)
	Shares() ([]node.ShareInfo, error)
	Files(ctx context.Context, group string) ([]node.File, error)

	Download(ctx context.Context, group, name, dest string) (Download, error)
	Downloads() ([]Download, error)

	Trackers(ctx context.Context) []node.TrackerInfo
	Watch(ctx context.Context) iter.Seq[node.Event]
}

// Download is what the commands need of a node.Download.
type Download interface {
	Progress() node.Progress
	Wait(ctx context.Context) (node.Result, error)
	Pause(ctx context.Context) error
	Resume() error
	Cancel(ctx context.Context) error
}

// ForNode returns the Client that calls n.
func ForNode(n *node.Node) Client { return nodeClient{n} }

// nodeClient is a node whose downloads are seen through the interface.
type nodeClient struct{ *node.Node }

func (c nodeClient) Download(ctx context.Context, group, name, dest string) (Download, error) {
	d, err := c.Node.Download(ctx, group, name, dest)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (c nodeClient) Downloads() ([]Download, error) {
	all, err := c.Node.Downloads()
	if err != nil {
		return nil, err
	}
	out := make([]Download, len(all))
	for i, d := range all {
		out[i] = d
	}
	return out, nil
}
