package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

// A client whose session is revoked from another one is logged out and
// shares no more; the session of the other goes on.
func TestRevokeSession(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2)
	phone := n.users("lab", "ada", "bob")[0]
	path, _ := n.file("a.bin", 100_000, 1)
	n.do(phone, "upload_file lab "+path)
	desk := n.client("desk")
	n.do(desk, "login ada '"+password+"'")
	var list struct {
		Sessions []struct {
			ID   string `json:"id"`
			This bool   `json:"this"`
		} `json:"sessions"`
	}
	if err := desk.Do(n.ctx, "sessions", &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Sessions) != 2 || list.Sessions[0].This || !list.Sessions[1].This {
		t.Fatalf("sessions %+v, want the phone's and this one", list.Sessions)
	}
	var ended struct {
		Session  string `json:"session"`
		StoredOn int    `json:"stored_on"`
	}
	if err := desk.Do(n.ctx, "revoke_session "+list.Sessions[0].ID, &ended); err != nil {
		t.Fatal(err)
	}
	if ended.Session != list.Sessions[0].ID || ended.StoredOn != 2 {
		t.Errorf("answered %+v", ended)
	}
	n.eventually("the phone is logged out", func() bool { return phone.Do(n.ctx, "whoami", nil) != nil })
	n.eventually("its log tells", func() bool {
		log, err := os.ReadFile(filepath.Join(n.Dir, "ada", "client.log"))
		return err == nil && strings.Contains(string(log), "logged_out")
	})
	n.refuse(phone, "list_shares", protocol.CodeSession)
	n.refuse(phone, "list_groups", protocol.CodeSession)
	n.eventually("nobody seeds", func() bool {
		var files struct {
			Files []struct {
				Seeders int `json:"seeders"`
			} `json:"files"`
		}
		return desk.Do(n.ctx, "list_files lab", &files) == nil && len(files.Files) == 1 && files.Files[0].Seeders == 0
	})
	n.do(desk, "whoami")
}
