package compare_test

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/compare"
	"github.com/p2pshare/p2pshare/protocol"
)

func config(t *testing.T) compare.Config {
	return compare.Config{Peers: []int{1, 3}, Size: 2 << 20, Uplink: 2 << 20, Downlink: 2 << 20, Out: filepath.Join(t.TempDir(), "new")}
}

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(c *compare.Config)
		want   protocol.Code
	}{
		{"good", func(*compare.Config) {}, ""},
		{"no numbers", func(c *compare.Config) { c.Peers = nil }, protocol.CodeConfig},
		{"nobody", func(c *compare.Config) { c.Peers = []int{2, 0} }, protocol.CodeConfig},
		{"too many", func(c *compare.Config) { c.Peers = []int{101} }, protocol.CodeConfig},
		{"nothing to send", func(c *compare.Config) { c.Size = 0 }, protocol.CodeConfig},
		{"no link", func(c *compare.Config) { c.Uplink = 1 }, protocol.CodeConfig},
		{"a disk that nobody has", func(c *compare.Config) { c.Size = 1 << 50 }, protocol.CodeDiskFull},
		{"a folder that nobody can write to", func(c *compare.Config) { c.Out = unwritable(t) }, protocol.CodePerm},
		{"a folder that cannot be made", func(c *compare.Config) { c.Out = filepath.Join(unwritable(t), "new") }, protocol.CodePerm},
		{"a file in place of the folder", func(c *compare.Config) { c.Out = file }, protocol.CodePerm},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := config(t)
			test.change(&c)
			if err := c.Check(); protocol.CodeOf(err) != test.want {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// unwritable is a folder in which this user cannot make anything.
func unwritable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "tried"))
	if err != nil {
		return dir
	}
	// Root writes where it likes, but not among the processes.
	_ = f.Close()
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("this user can write everywhere, and there is no /proc")
	}
	return "/proc/self"
}

// TestRun measures small: the more clients, the longer a server takes and the
// more the others help.
func TestRun(t *testing.T) {
	c := config(t)
	told := 0
	c.Progress = func(compare.Progress) { told++ }
	rows, err := compare.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0].Peers != 1 || rows[1].Peers != 3 || told == 0 {
		t.Fatalf("got %+v, told %d times", rows, told)
	}
	for _, r := range rows {
		if r.Central < 0.9*r.CentralBound || r.PeerToPeer < 0.9*r.Bound {
			t.Errorf("faster than the links allow: %+v", r)
		}
	}
	if grew := rows[1].Central / rows[0].Central; grew < 2 {
		t.Errorf("three clients take the server %.1f times as long as one", grew)
	}
	if r := rows[1]; r.PeerToPeer >= r.Central || r.SeederCopies >= 3 || r.SeederCopies < 1 {
		t.Errorf("nothing gained: %+v", r)
	}
	checkFiles(t, c, rows)
}

func checkFiles(t *testing.T, c compare.Config, rows []compare.Row) {
	t.Helper()
	files, err := compare.Write(c.Out, c, rows)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(files.CSV)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil || len(records) != len(rows)+1 {
		t.Fatalf("got %v, %v", records, err)
	}
	var table bytes.Buffer
	if err := compare.Table(&table, rows); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(table.String(), "\n")
	for i, record := range records {
		if got, want := strings.Join(strings.Fields(lines[i]), " "), strings.Join(record, " "); got != want {
			t.Errorf("the table says %q, the file %q", got, want)
		}
	}
	checkSVG(t, files.SVG)
	image, err := os.Open(files.PNG)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if _, err := png.Decode(image); err != nil {
		t.Error(err)
	}
}

func checkSVG(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"clients", "distribution time (s)", "central server", "peer to peer", "lower bound"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("the plot does not say %q", want)
		}
	}
}
