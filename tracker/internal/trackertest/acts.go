package trackertest

import (
	"context"

	"github.com/p2pshare/p2pshare/internal/calltest"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// Password is what users of tests have.
const Password = "correct horse"

// Register makes an account.
func (c *Client) Register(name string) error {
	_, err := Do(c, c.at.Register, &pb.RegisterRequest{Name: name, Password: Password, Nonce: Nonce()})
	return err
}

// Login logs in, and keeps the session.
func (c *Client) Login(name, password string) error {
	r, err := Do(c, c.at.Login, &pb.LoginRequest{Name: name, Password: password, Device: "test"})
	if err == nil {
		c.Session, c.User = r.GetSession(), r.GetUserId()
	}
	return err
}

// Enter makes an account and logs in; a failure ends the test.
func (c *Client) Enter(name string) *Client {
	c.T.Helper()
	if err := c.Register(name); err != nil {
		c.T.Fatalf("register %s: %v", name, err)
	}
	if err := c.Login(name, Password); err != nil {
		c.T.Fatalf("login %s: %v", name, err)
	}
	return c
}

// CreateGroup makes a group; a failure ends the test.
func (c *Client) CreateGroup(name string) (id []byte) {
	c.T.Helper()
	r, err := Do(c, c.at.CreateGroup, &pb.CreateGroupRequest{Name: name, Nonce: Nonce()})
	if err != nil {
		c.T.Fatalf("create group %s: %v", name, err)
	}
	return r.GetGroupId()
}

// Groups lists the groups of the user, the first page of them.
func (c *Client) Groups() ([]*pb.GroupEntry, error) {
	r, err := Do(c, c.at.ListGroups, &pb.ListGroupsRequest{})
	return r.GetGroups(), err
}

// Join asks to join.
func (c *Client) Join(group string) error {
	_, err := Do(c, c.at.JoinGroup, &pb.GroupRequest{Group: Group(group)})
	return err
}

// Leave leaves.
func (c *Client) Leave(group string) error {
	_, err := Do(c, c.at.LeaveGroup, &pb.GroupRequest{Group: Group(group)})
	return err
}

// Answer accepts or refuses somebody.
func (c *Client) Answer(group, user string, accept bool) error {
	_, err := Do(c, c.at.AnswerRequest, &pb.AnswerRequestRequest{Group: Group(group), User: User(user), Accept: accept})
	return err
}

// Remove removes a member.
func (c *Client) Remove(group, user string) error {
	_, err := Do(c, c.at.RemoveMember, &pb.MemberRequest{Group: Group(group), User: User(user)})
	return err
}

// LetIn brings another client's user into a group that c owns.
func (c *Client) LetIn(group string, other *Client, name string) {
	c.T.Helper()
	if err := other.Join(group); err != nil {
		c.T.Fatalf("join %s: %v", group, err)
	}
	if err := c.Answer(group, name, true); err != nil {
		c.T.Fatalf("accept %s: %v", name, err)
	}
}

// Manifest returns a valid manifest of pieces pieces with contents of its own.
func Manifest(name string, pieces int, seed byte) *protocol.Manifest {
	length := int64(protocol.PieceLength)
	if pieces <= protocol.EnoughPieces {
		length = protocol.MinPieceLength
	}
	m := &protocol.Manifest{Name: name, Size: int64(pieces) * length, PieceLength: length}
	m.SHA1[0] = seed
	for i := range pieces {
		m.Pieces = append(m.Pieces, protocol.PieceHash{SHA1: protocol.SHA1{seed, byte(i)}})
	}
	return m
}

// Put sends a manifest in chunks, as id.
func (c *Client) Put(group []byte, id protocol.FileID, data []byte) (known bool, err error) {
	ctx, cancel := context.WithTimeout(c.T.Context(), Timeout)
	defer cancel()
	return calltest.Put(ctx, c.at, c.Session, group, id, data)
}

// Share puts a manifest and shares it.
func (c *Client) Share(group string, m *protocol.Manifest) (*pb.ShareFileResponse, error) {
	c.T.Helper()
	data := m.Encode()
	id := protocol.ManifestID(data)
	files, err := Do(c, c.at.ListFiles, &pb.ListFilesRequest{Group: Group(group)})
	if err != nil {
		return nil, err
	}
	if _, err := c.Put(files.GetGroupId(), id, data); err != nil {
		return nil, err
	}
	return Do(c, c.at.ShareFile, &pb.ShareFileRequest{Group: Group(group), FileId: id[:]})
}

// Manifest fetches a manifest.
func (c *Client) Manifest(ref *pb.FileRequest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(c.T.Context(), Timeout)
	defer cancel()
	return calltest.Manifest(ctx, c.at, c.Session, ref)
}
