package node_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// client is a node with its folders.
type client struct {
	*node.Node
	w    *world
	name string
}

func (w *world) node(name string, opts ...node.Option) *client {
	w.Helper()
	base := []node.Option{
		node.WithDataDir(filepath.Join(w.dir, "data-"+name)),
		node.WithDownloadDir(w.folder("downloads-" + name)),
		node.WithListen("127.0.0.1:0"), node.WithTrackerEntries(w.entries...),
	}
	n, err := node.New(append(base, opts...)...)
	w.ok(err)
	w.Cleanup(func() { _ = n.Close() })
	return &client{Node: n, w: w, name: name}
}

// user is a node whose user has an account and is logged in.
func (w *world) user(name string, opts ...node.Option) *client {
	w.Helper()
	c := w.node(name, opts...)
	_, err := c.CreateUser(w.Context(), name, "password of "+name)
	w.ok(err)
	c.login(name, "password of "+name)
	return c
}

// login logs in and checks where the session is stored.
func (c *client) login(name, password string) {
	c.w.Helper()
	st, err := c.Login(c.w.Context(), name, password)
	c.w.ok(err)
	if st.On < 1 || st.Trackers != len(c.w.trackers) {
		c.w.Errorf("the login is stored on %d of %d trackers, there are %d", st.On, st.Trackers, len(c.w.trackers))
	}
}

// share offers a file to the group.
func (c *client) share(group, path string) {
	c.w.Helper()
	_, _, err := c.Share(c.w.Context(), group, path, nil)
	c.w.ok(err)
}

// seeded is ada's group g with bob in it; she shares f.bin, of that size.
func (w *world) seeded(size int) (ada, bob *client, path string) {
	w.Helper()
	ada, bob = w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	path = w.file("f.bin", size)
	ada.share("g", path)
	return ada, bob, path
}

// begin starts a download as soon as the group's news have come.
func (c *client) begin(group, name string) (d *node.Download) {
	c.w.Helper()
	c.w.retry("the file is known", func() (err error) {
		d, err = c.Download(c.w.Context(), group, name, "")
		return err
	})
	return d
}

// download fetches a file to the end.
func (c *client) download(group, name string) node.Result {
	c.w.Helper()
	return c.finish(c.begin(group, name))
}

func (c *client) finish(d *node.Download) node.Result {
	c.w.Helper()
	ctx, cancel := context.WithTimeout(c.w.Context(), patience)
	defer cancel()
	res, err := d.Wait(ctx)
	if err != nil {
		c.w.Fatalf("%s: %v; %+v", c.name, err, d.Progress())
	}
	return res
}

// fails ends the test unless the download ends with the code; it returns what
// the error says.
func (w *world) fails(d *node.Download, code protocol.Code) string {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	_, err := d.Wait(ctx)
	w.want(err, code)
	return err.Error()
}

// onlyDownload is the one download that the client has.
func (c *client) onlyDownload() *node.Download {
	c.w.Helper()
	all, err := c.Downloads()
	c.w.ok(err)
	if len(all) != 1 {
		c.w.Fatalf("%d downloads, want 1", len(all))
	}
	return all[0]
}

// onlyShare is the one share that the client has.
func (c *client) onlyShare() node.ShareInfo {
	c.w.Helper()
	all, err := c.Shares()
	c.w.ok(err)
	if len(all) != 1 {
		c.w.Fatalf("%d shares, want 1: %+v", len(all), all)
	}
	return all[0]
}

// awaitSeeders waits until the one file of the group has so many seeders.
func (c *client) awaitSeeders(group string, n int) {
	c.w.Helper()
	c.w.eventually(fmt.Sprintf("there are %d seeders", n), func() bool {
		files, err := c.Files(c.w.Context(), group)
		return err == nil && len(files) == 1 && files[0].Seeders == n
	})
}

// partials lists what lies hidden in the client's download folder.
func (c *client) partials() (names []string) {
	c.w.Helper()
	entries, err := os.ReadDir(filepath.Join(c.w.dir, "downloads-"+c.name))
	c.w.ok(err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".p2ps-") {
			names = append(names, e.Name())
		}
	}
	return names
}
