package records_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/blake3"
	"go.uber.org/goleak"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// downloaderDir makes the test binary a downloader in this folder.
const downloaderDir = "P2PSHARE_TEST_DOWNLOADER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(downloaderDir); dir != "" {
		if err := runDownloader(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// wanted is the file that the downloader makes: 81 pieces, enough for several
// entries in the journal.
func wanted() (*protocol.Manifest, []byte) {
	content := make([]byte, 80*protocol.PieceLength+1000)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(content)
	m := &protocol.Manifest{Name: "a file", Size: int64(len(content)), PieceLength: protocol.PieceLength, SHA1: sha1.Sum(content)}
	for piece := range slices.Chunk(content, protocol.PieceLength) {
		m.Pieces = append(m.Pieces, protocol.PieceHash{SHA1: sha1.Sum(piece), BLAKE3: blake3.Sum256(piece)})
	}
	return m, content
}

func openDownload(dir string, m *protocol.Manifest, r *records.Records) (*filestore.Partial, error) {
	target, err := filestore.ResolveTarget(dir, "", m.Name, m.ID(), "client")
	if err != nil {
		return nil, err
	}
	return filestore.OpenPartial(context.Background(), target, m, r.Journal(ada, group, m.ID()))
}

// runDownloader writes what is missing and prints a line for each piece.
func runDownloader(dir string) error {
	m, content := wanted()
	r, err := records.Open(dir)
	if err != nil {
		return err
	}
	p, err := openDownload(dir, m, r)
	if err != nil {
		return err
	}
	_, bits := p.Have()
	for i := range m.Pieces {
		if bits[i/8]&(0x80>>(i%8)) != 0 {
			continue
		}
		if err := p.Store(i, content[m.PieceOffset(i):][:m.PieceSize(i)]); err != nil {
			return err
		}
		fmt.Println("wrote", i)
	}
	if _, _, _, err := p.Finish(context.Background()); err != nil {
		return err
	}
	fmt.Println("finished")
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // until it is killed
	return nil
}

// A downloader killed with -9 at any point goes on with every piece that it had
// written, and ends with the right file.
func TestKilledDownloader(t *testing.T) {
	self, err := os.Executable()
	check(t, err)
	dir := t.TempDir()
	m, content := wanted()
	written := 0
	for _, lines := range []int{1, 20, 40, 1000} { // of one life; the last one finishes
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), downloaderDir+"="+dir)
		var faults bytes.Buffer
		cmd.Stderr = &faults
		_, err = cmd.StdinPipe() // Wait closes it
		check(t, err)
		stdout, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		before, finished := written, false
		for out := bufio.NewScanner(stdout); lines > 0 && !finished && out.Scan(); lines-- {
			var i int
			if out.Text() == "finished" {
				finished = true
			} else if _, err := fmt.Sscanf(out.Text(), "wrote %d", &i); err != nil || i < before {
				t.Errorf("after %d pieces the downloader said %q", before, out.Text())
			} else {
				written = i + 1
			}
		}
		check(t, cmd.Process.Kill())
		_ = cmd.Wait()
		if faults.Len() > 0 {
			t.Fatalf("the downloader says %s", faults.String())
		}
		r := open(t, dir)
		if finished {
			check(t, r.Close())
			break
		}
		p, err := openDownload(dir, m, r)
		check(t, err)
		_, bits := p.Have()
		for i := range written {
			if bits[i/8]&(0x80>>(i%8)) == 0 {
				t.Fatalf("piece %d of %d written is lost", i, written)
			}
		}
		// It may have got further than it said.
		for written < len(m.Pieces) && bits[written/8]&(0x80>>(written%8)) != 0 {
			written++
		}
		check(t, p.Close())
		check(t, r.Close())
	}
	got, err := os.ReadFile(dir + "/a file")
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("the finished file is wrong (%v)", err)
	}
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s was left", e.Name())
		}
	}
}

// A damaged journal costs a look at the data and nothing else.
func TestDownloadWithSpoiledJournal(t *testing.T) {
	m, content := wanted()
	dir := t.TempDir()
	r := open(t, dir)
	defer r.Close()
	p, err := openDownload(dir, m, r)
	check(t, err)
	for i := range 60 {
		check(t, p.Store(i, content[m.PieceOffset(i):][:m.PieceSize(i)]))
	}
	check(t, p.Close())
	check(t, r.Spoil(func(v []byte) []byte { v[5] ^= 0xff; return v }))
	p, err = openDownload(dir, m, r)
	check(t, err)
	_, bits := p.Have()
	for i := range m.Pieces {
		if got := bits[i/8]&(0x80>>(i%8)) != 0; got != (i < 60) {
			t.Fatalf("piece %d: have = %v", i, got)
		}
	}
	check(t, p.Close())
}
