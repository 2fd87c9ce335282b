package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/netns"
	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
)

// lan is hosts in network namespaces, and what runs there.
type lan struct {
	*netns.LAN
	t     *testing.T
	bin   string
	dir   string
	procs map[string]*world.Proc
}

func newLAN(t *testing.T, hosts ...string) *lan {
	t.Helper()
	bin, err := exec.LookPath("p2pshare")
	if err != nil {
		t.Fatal(err)
	}
	l := &lan{LAN: netns.New(t, hosts...), t: t, bin: bin, dir: t.TempDir(), procs: map[string]*world.Proc{}}
	t.Cleanup(func() { // before the hosts go
		for _, p := range l.procs {
			p.Kill()
		}
	})
	return l
}

// on is a command on a host.
func (l *lan) on(ctx context.Context, host string, args ...string) *exec.Cmd {
	cmd := l.Host(host).Command(ctx, l.bin, args...)
	cmd.Dir = l.dir
	return cmd
}

// run runs a command on a host to its end.
func (l *lan) run(host string, args ...string) (status int, stdout, stderr string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	cmd := l.on(ctx, host, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			l.t.Fatal(err)
		}
		status = exit.ExitCode()
	}
	return status, out.String(), errs.String()
}

// key makes a tracker's key in a folder, and returns its line of the list and its id.
func (l *lan) key(host, folder string) (line, id string) {
	l.t.Helper()
	status, out, errs := l.run(host, "tracker", "id", "--data", folder, l.Host(host).Addr+":5000")
	if status != 0 {
		l.t.Fatalf("tracker id: %s", errs)
	}
	line = strings.TrimSpace(out)
	return line, line[strings.LastIndex(line, "/")+1:]
}

// tracker starts one, which runs as long as the test, and waits until it serves.
func (l *lan) tracker(host, folder, list, number string, flags ...string) {
	l.t.Helper()
	args := append(append([]string{"tracker", "--data", folder}, flags...), list, number)
	p, err := world.Start(host, l.on(l.t.Context(), host, args...))
	if err != nil {
		l.t.Fatal(err)
	}
	l.procs[host] = p
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	if _, err := p.Line(ctx); err != nil {
		l.t.Fatalf("the tracker on %s: %v: %s", host, err, p.Stderr())
	}
}

func (l *lan) write(name, content string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(content), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// did reports whether the log of a tracker names a thing that a client did.
func (l *lan) did(folder, what string) bool {
	l.t.Helper()
	log, err := os.ReadFile(filepath.Join(l.dir, folder, "tracker.log"))
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.Contains(string(log), what)
}

// TestDiscover looks for the trackers of a network of hosts.
func TestDiscover(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "alpha", "beta", "ada")
	const create = "create_user ada correct-horse"

	lineA, alpha := l.key("alpha", "alpha")
	lineB, beta := l.key("beta", "beta")
	l.write("info", lineA+"\n"+lineB+"\n")
	l.tracker("alpha", "alpha", "info", "1", "--new-network")
	l.tracker("beta", "beta", "info", "2")

	// Both are found, within the 4.5 s that a client looks; one that is not
	// confirmed hears nothing of the user.
	found := regexp.MustCompile(`note: found the tracker 10\.78\.0\.([12]):5000 with the id (12D3Koo\w+)`)
	var status int
	var got, stderr string
	for range 5 { // a machine that is very busy may need more
		began := time.Now()
		status, _, stderr = l.run("ada", "client", "--data", "d", "--discover", "-c", create)
		t.Logf("looking and refusing took %v", time.Since(began).Round(10*time.Millisecond))
		all := found.FindAllStringSubmatch(stderr, -1)
		if got = fmt.Sprint(all); len(all) == 2 {
			break
		}
	}
	if want := fmt.Sprintf("[[note: found the tracker 10.78.0.1:5000 with the id %s 1 %s] [note: found the tracker 10.78.0.2:5000 with the id %s 2 %s]]", alpha, alpha, beta, beta); got != want {
		t.Fatalf("found %s, want %s", got, want)
	}
	if status != 22 || !strings.Contains(stderr, "(E_TRACKER_NEW)") {
		t.Errorf("without confirmation: status %d, %q", status, stderr)
	}
	if _, err := os.Stat(filepath.Join(l.dir, "d", "known_trackers")); !os.IsNotExist(err) {
		t.Errorf("something is pinned: %v", err)
	}
	if l.did("alpha", "create_user") || l.did("beta", "create_user") {
		t.Error("a tracker heard of the account")
	}

	// In a script the flag confirms; from then on they are known.
	if status, out, stderr := l.run("ada", "client", "--data", "d", "--discover", "--accept-new-trackers", "-c", create, "-c", "login ada correct-horse"); status != 0 {
		t.Fatalf("status %d, %q %q", status, out, stderr)
	}
	status, out, stderr := l.run("ada", "client", "--data", "d", "--discover", "-c", "trackers", "-c", "whoami")
	if status != 0 || !regexp.MustCompile(`(?s)^1\t10\.78\.0\.1:5000\t(connected|reachable)\n2\t10\.78\.0\.2:5000\t(connected|reachable)\nada\n$`).MatchString(out) {
		t.Errorf("status %d, %q %q", status, out, stderr)
	}

	t.Run("terminal", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir: filepath.Join("testdata", "lan"),
			Setup: func(env *testscript.Env) error {
				env.Setenv("HOST", l.Host("ada").Namespace())
				env.Setenv("ALPHA", alpha)
				env.Setenv("BETA", beta)
				return nil
			},
		})
	})
	if t.Failed() {
		return
	}

	// Somebody else at the address of one that is known, announcing the own id,
	// gets nothing.
	for _, h := range []string{"alpha", "beta"} {
		l.procs[h].Kill()
	}
	lineE, eve := l.key("alpha", "eve")
	l.write("evil", lineE+"\n")
	l.tracker("alpha", "eve", "evil", "1", "--new-network")
	status, _, stderr = l.run("ada", "client", "--data", "d", "--discover", "--accept-new-trackers", "-c", "login ada correct-horse")
	if status != 21 || !strings.Contains(stderr, "with the id "+eve) || !strings.Contains(stderr, "TRACKER IDENTITY CHANGED for 10.78.0.1:5000") {
		t.Errorf("with another tracker at a known address: status %d, %q", status, stderr)
	}
	if l.did("eve", "login") {
		t.Error("the other tracker was sent a login")
	}
}

// What is not there, or does not announce itself, is not found; and where
// nothing can multicast, that is what is said, at once.
func TestDiscoverNothing(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "alpha", "ada")
	line, _ := l.key("alpha", "alpha")
	l.write("info", line+"\n")
	l.tracker("alpha", "alpha", "info", "1", "--new-network", "--no-announce")
	status, _, stderr := l.run("ada", "client", "--data", "d", "--discover", "-c", "trackers")
	if status != 20 || !strings.Contains(stderr, "no tracker announces itself") || !strings.HasSuffix(stderr, "(E_NO_TRACKER)\n") {
		t.Errorf("with a silent tracker: status %d, %q", status, stderr)
	}
	l.IP("-n", l.Host("ada").Namespace(), "link", "del", "eth0")
	status, _, stderr = l.run("ada", "client", "--data", "d", "--discover", "-c", "trackers")
	if status != 20 || !strings.Contains(stderr, "no network interface here is up and can multicast") {
		t.Errorf("without a network: status %d, %q", status, stderr)
	}
}
