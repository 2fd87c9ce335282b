package main_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// roundTrip is the delay of the long wire, rampUp what its windows have to open.
	roundTrip = 50 * time.Millisecond
	rampUp    = 2 * time.Second
	benchTime = 15 * time.Minute
)

// BenchmarkTransfer measures a transfer between real processes on loopback,
// file to file, and in turns with it the same work over plain TCP: read, send,
// SHA-1 and BLAKE3 of each piece, fallocate, write (bench_plain_test.go). Ours
// ends when download_file has answered: it includes finding the file and its
// members, and connecting. The check of the whole file on disk, for which
// download_file does not wait, is waited for and told apart. The metrics of more
// than one round (-benchtime 5x) are medians:
//
//	MB/s, plain-MB/s   bytes of all copies by the time of the last one
//	ratio              of the two
//	cpu-s/GiB, plain-… CPU seconds of all senders and receivers, user and system
//	cpu-ratio          of the two
//	check-cpu-s/GiB    CPU seconds after that, until nobody does anything
//	checked-cpu-ratio  cpu-ratio with those seconds on our side alone
//	peak-MiB           the most RssAnon+RssShmem of a downloader
//	late-MB/s          over the long wire: from two seconds after the first byte
//
// Files are in TMPDIR, in the page cache; with TMPDIR=/dev/shm the disk plays no
// part. On a disk ours waits while 16 MiB are not durable, and plain for nothing. P2PSHARE_BENCH_MIB sets another size than the scenario's.
func BenchmarkTransfer(b *testing.B) {
	for _, s := range []scenario{
		{name: "1to1", mib: 1024, seeders: 1, leechers: 1},
		{name: "4to1", mib: 1024, seeders: 4, leechers: 1},
		{name: "1to4", mib: 512, seeders: 1, leechers: 4},
		{name: "50ms", mib: 1024, seeders: 1, leechers: 1, delay: roundTrip / 2},
	} {
		b.Run(s.name, s.run)
	}
}

type scenario struct {
	name              string
	mib               int64
	seeders, leechers int
	delay             time.Duration // each way, 0 for none
}

// figures are what one transfer of all copies came to.
type figures struct {
	took time.Duration
	cpu  time.Duration
	rest time.Duration // of CPU, after the answers
	late float64       // bytes per second after rampUp, over the long wire
}

// bench is one run of a scenario.
type bench struct {
	scenario
	*network
	b      *testing.B
	size   int64
	path   string
	hashes string

	seeds   []*world.Proc
	leeches []*world.Client
	wire    *delayer // of ours
}

func (s scenario) run(b *testing.B) {
	if mib, err := strconv.ParseInt(os.Getenv("P2PSHARE_BENCH_MIB"), 10, 64); err == nil {
		s.mib = mib
	}
	x := &bench{scenario: s, b: b, network: newNetwork(b, 1), size: s.mib << 20}
	ctx, cancel := context.WithTimeout(b.Context(), benchTime)
	b.Cleanup(cancel)
	x.ctx = ctx
	x.prepare()
	var ours, plain []figures
	for round := 0; b.Loop(); round++ {
		if round%2 == 1 {
			ours = append(ours, x.ours())
		}
		b.StopTimer()
		plain = append(plain, x.plain())
		b.StartTimer()
		if round%2 == 0 {
			ours = append(ours, x.ours())
		}
	}
	x.report(ours, plain)
}

// prepare makes the file, those who share it, and those who are to fetch it.
func (x *bench) prepare() {
	x.path, _ = x.file("data.bin", x.size, 1)
	x.hashes = filepath.Join(x.Dir, "hashes")
	if out, err := exec.CommandContext(x.ctx, "plain-hashes", x.path, x.hashes).CombinedOutput(); err != nil {
		x.b.Fatalf("%v: %s", err, out)
	}
	var names []string
	for i := range x.seeders + x.leechers {
		names = append(names, fmt.Sprintf("user%d", i))
	}
	clients := x.users("lab", names...)
	x.leeches = clients[x.seeders:]
	if x.delay > 0 {
		x.distant()
		return
	}
	for _, c := range clients[:x.seeders] {
		x.do(c, "upload_file lab "+x.path)
		x.seeds = append(x.seeds, c.Proc)
	}
}

// distant shares the file behind a long wire.
func (x *bench) distant() {
	x.wire = newDelayer(x.b, x.delay)
	port := x.wire.listener.Addr().String()[len("127.0.0.1:"):]
	p, err := world.Start("distant seeder", exec.CommandContext(x.ctx, "announced-seeder", filepath.Join(x.Dir, "distant"), x.Info,
		"/ip4/127.0.0.1/tcp/"+port, "user0", password, "lab", x.path))
	if err != nil {
		x.b.Fatal(err)
	}
	x.b.Cleanup(p.Kill)
	own, err := p.Line(x.ctx)
	if err == nil {
		x.wire.serve(own)
		_, err = p.Line(x.ctx)
	}
	if err != nil {
		x.b.Fatalf("%v: %s", err, p.Stderr())
	}
	x.seeds = []*world.Proc{p}
}

// ours is one transfer by p2pshare.
func (x *bench) ours() figures {
	procs := slices.Clone(x.seeds)
	var files []string
	for _, c := range x.leeches {
		procs = append(procs, c.Proc)
		files = append(files, filepath.Join(c.Downloads, "data.bin"))
	}
	x.clear(files...)
	if x.wire != nil {
		x.wire.reset()
	}
	before, began := x.cpu(procs), time.Now()
	for _, c := range x.leeches {
		if err := c.Write("download_file lab data.bin"); err != nil {
			x.b.Fatal(err)
		}
	}
	for _, c := range x.leeches {
		var d world.Downloaded
		if err := c.Answer(x.ctx, &d); err != nil {
			x.b.Fatal(err)
		}
		if d.Size != x.size {
			x.b.Fatalf("%d bytes came, want %d", d.Size, x.size)
		}
	}
	f := figures{took: time.Since(began), cpu: x.cpu(procs) - before}
	if x.wire != nil {
		f.late = x.wire.rateAfter(rampUp, x.size)
	}
	f.rest = x.idle(procs) - before - f.cpu
	return f
}

// clear removes what the round before left under these names, and then fills as
// much memory as the files of this one take and gives it back. Where the host of
// a virtual machine takes what is free for a few seconds, to get it again costs
// up to 3 s of CPU for each GiB; so both sides begin with memory that was in use
// just now. A client keeps a file open that it shares, and so its memory, when
// the name is gone already.
func (x *bench) clear(paths ...string) {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			x.b.Fatal(err)
		}
	}
	f, err := os.CreateTemp(x.Dir, "room")
	if err != nil {
		x.b.Fatal(err)
	}
	block := make([]byte, protocol.PieceLength)
	for left := x.size * int64(x.leechers); left > 0 && err == nil; left -= protocol.PieceLength {
		_, err = f.Write(block)
	}
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		x.b.Fatal(err)
	}
}

// idle waits until the processes have had nothing to do for a second, and returns
// what they have used so far.
func (x *bench) idle(procs []*world.Proc) time.Duration {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		before := x.cpu(procs)
		<-tick.C
		if used := x.cpu(procs); used <= before+20*time.Millisecond {
			return used
		}
	}
}

// cpu returns what processes have used so far, user and system.
func (x *bench) cpu(procs []*world.Proc) (sum time.Duration) {
	x.b.Helper()
	for _, p := range procs {
		used, err := p.CPU()
		if err != nil {
			x.b.Fatal(err)
		}
		sum += used
	}
	return sum
}

// plain is the same transfer over TCP.
func (x *bench) plain() (f figures) {
	var procs []*exec.Cmd
	begin := func(name string, args ...string) (io.WriteCloser, *bufio.Reader) {
		cmd := exec.CommandContext(x.ctx, name, args...)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			x.b.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			x.b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			x.b.Fatal(err)
		}
		procs = append(procs, cmd)
		return in, bufio.NewReader(out)
	}
	line := func(r *bufio.Reader) string {
		s, err := r.ReadString('\n')
		if err != nil {
			x.b.Fatal(err)
		}
		return strings.TrimSpace(s)
	}
	var addresses []string
	var inputs []io.WriteCloser
	var wire *delayer
	for range x.seeders {
		in, out := begin("plain-send", x.path)
		inputs = append(inputs, in)
		address := line(out)
		if x.delay > 0 {
			wire = newDelayer(x.b, x.delay)
			wire.serve(address)
			address = wire.listener.Addr().String()
		}
		addresses = append(addresses, address)
	}
	var targets []string
	for i := range x.leechers {
		targets = append(targets, filepath.Join(x.Dir, "plain"+strconv.Itoa(i)))
	}
	x.clear(targets...)
	var outputs []*bufio.Reader
	for _, target := range targets {
		in, out := begin("plain-receive", append([]string{target, strconv.FormatInt(x.size, 10), x.hashes}, addresses...)...)
		inputs, outputs = append(inputs, in), append(outputs, out)
	}
	began := time.Now()
	for _, in := range inputs[x.seeders:] {
		if _, err := io.WriteString(in, "go\n"); err != nil {
			x.b.Fatal(err)
		}
	}
	for _, out := range outputs {
		line(out)
	}
	f.took = time.Since(began)
	if wire != nil {
		f.late = wire.rateAfter(rampUp, x.size)
	}
	for i, cmd := range procs {
		_ = inputs[i].Close()
		if err := cmd.Wait(); err != nil {
			x.b.Fatal(err)
		}
		f.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return f
}

func (x *bench) report(ours, plain []figures) {
	bytes := float64(x.size) * float64(x.leechers)
	rate := func(f figures) float64 { return bytes / 1e6 / f.took.Seconds() }
	cpu := func(f figures) float64 { return f.cpu.Seconds() / (bytes / (1 << 30)) }
	late := func(f figures) float64 { return f.late / 1e6 }
	metric := func(name string, value float64) { x.b.ReportMetric(value, name) }
	metric("MB/s", median(ours, rate))
	metric("plain-MB/s", median(plain, rate))
	metric("ratio", median(ours, rate)/median(plain, rate))
	metric("cpu-s/GiB", median(ours, cpu))
	metric("plain-cpu-s/GiB", median(plain, cpu))
	check := func(f figures) float64 { return f.rest.Seconds() / (bytes / (1 << 30)) }
	checked := func(f figures) float64 { return cpu(f) + check(f) }
	metric("check-cpu-s/GiB", median(ours, check))
	metric("cpu-ratio", median(ours, cpu)/median(plain, cpu))
	metric("checked-cpu-ratio", median(ours, checked)/median(plain, cpu))
	if x.delay > 0 {
		metric("late-MB/s", median(ours, late))
		metric("plain-late-MB/s", median(plain, late))
	}
	var peak int64
	for _, c := range x.leeches {
		peak = max(peak, c.PeakMemory())
	}
	metric("peak-MiB", float64(peak)/(1<<20))
}

func median(of []figures, f func(figures) float64) float64 {
	var all []float64
	for _, x := range of {
		all = append(all, f(x))
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}
