package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/p2pshare/p2pshare/protocol"
)

// The plain programs do the work of a transfer over TCP with nothing around
// it: no encryption, no protocol, no trackers, each part as fast as it goes. They
// are what BenchmarkTransfer compares with.

const (
	// plainChunk is what the sender reads and sends at once.
	plainChunk = 64 << 10
	// plainHashers verify and write at the receiver, beside one goroutine that
	// reads from each sender.
	plainHashers = 2
	// plainAhead is how many pieces wait for them at most.
	plainAhead = 8
	// plainHash is what the hash file holds of each piece: SHA-1, then BLAKE3.
	plainHash = 20 + 32
)

// plainSend serves byte ranges of a file to whoever connects, until its
// standard input ends: plain-send FILE. It prints its address.
func plainSend() { plainRun(sendAll) }

// plainReceive fetches a file from senders, a part from each, verifies and
// writes it: plain-receive TARGET SIZE HASHES ADDRESS... It begins at a line of
// standard input and prints one at the end.
func plainReceive() { plainRun(receiveAll) }

func plainRun(f func(args []string) error) {
	if err := f(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func sendAll(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	failed := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the end
			}
			go func() {
				defer c.Close()
				if err := sendRange(c, f); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}()
		}
	}()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	select {
	case err = <-failed:
	case err = <-ended:
	}
	return errors.Join(err, l.Close())
}

// sendRange reads which part is wanted, offset and length, and sends it.
func sendRange(c net.Conn, f *os.File) error {
	var part [16]byte
	if _, err := io.ReadFull(c, part[:]); err != nil {
		return err
	}
	off, left := int64(binary.BigEndian.Uint64(part[:8])), int64(binary.BigEndian.Uint64(part[8:]))
	buf := make([]byte, plainChunk)
	for left > 0 {
		b := buf[:min(left, plainChunk)]
		if _, err := f.ReadAt(b, off); err != nil {
			return err
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
		off, left = off+int64(len(b)), left-int64(len(b))
	}
	return nil
}

// plainPiece is a piece on its way from a sender to a hasher.
type plainPiece struct {
	off int64
	buf []byte // of protocol.PieceLength
	n   int
}

// plainFetch is one run of plain-receive.
type plainFetch struct {
	target *os.File
	hashes []byte
	free   chan []byte
	pieces chan plainPiece
}

func receiveAll(args []string) error {
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	hashes, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	senders := args[3:]
	buffers := len(senders) + plainHashers + plainAhead
	fetch := plainFetch{hashes: hashes, free: make(chan []byte, buffers), pieces: make(chan plainPiece, plainAhead)}
	for range buffers {
		fetch.free <- make([]byte, protocol.PieceLength)
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	if fetch.target, err = os.OpenFile(args[0], os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return err
	}
	if err := plainAllocate(fetch.target, size); err != nil {
		return err
	}
	if err := fetch.run(size, senders); err != nil {
		return err
	}
	if err := fetch.target.Close(); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

// run takes an equal share of the pieces from each sender.
func (f *plainFetch) run(size int64, senders []string) error {
	failed := make(chan error, len(senders)+plainHashers)
	var reading, hashing sync.WaitGroup
	pieces := (size + protocol.PieceLength - 1) / protocol.PieceLength
	each := (pieces + int64(len(senders)) - 1) / int64(len(senders)) * protocol.PieceLength
	for i, address := range senders {
		from := min(int64(i)*each, size)
		reading.Go(func() { failed <- f.read(address, from, min(from+each, size)) })
	}
	for range plainHashers {
		hashing.Go(func() { failed <- f.store() })
	}
	reading.Wait()
	close(f.pieces)
	hashing.Wait()
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (f *plainFetch) read(address string, from, to int64) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	var part [16]byte
	binary.BigEndian.PutUint64(part[:8], uint64(from))
	binary.BigEndian.PutUint64(part[8:], uint64(to-from))
	if _, err := c.Write(part[:]); err != nil {
		return err
	}
	for off := from; off < to; off += protocol.PieceLength {
		p := plainPiece{off: off, buf: <-f.free, n: int(min(protocol.PieceLength, to-off))}
		if _, err := io.ReadFull(c, p.buf[:p.n]); err != nil {
			return err
		}
		f.pieces <- p
	}
	return nil
}

// store verifies and writes pieces. After a failure it goes on taking them, so
// that no reader waits for ever.
func (f *plainFetch) store() (failed error) {
	for p := range f.pieces {
		data, at := p.buf[:p.n], int(p.off/protocol.PieceLength)*plainHash
		sha, blake := sha1.Sum(data), blake3.Sum256(data)
		if want := f.hashes[at : at+plainHash]; string(sha[:]) != string(want[:20]) || string(blake[:]) != string(want[20:]) {
			failed = fmt.Errorf("the piece at %d is not what it should be", p.off)
		} else if _, err := f.target.WriteAt(data, p.off); err != nil {
			failed = err
		}
		f.free <- p.buf
	}
	return failed
}

// plainHashes writes the hash file of plain-receive.
func plainHashes(args []string) error {
	in, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer in.Close()
	var hashes []byte
	buf := make([]byte, protocol.PieceLength)
	for {
		n, err := io.ReadFull(in, buf)
		if n == 0 && errors.Is(err, io.EOF) {
			return os.WriteFile(args[1], hashes, 0o600)
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		sha, blake := sha1.Sum(buf[:n]), blake3.Sum256(buf[:n])
		hashes = append(append(hashes, sha[:]...), blake[:]...)
	}
}

// plainHashFile is plain-hashes FILE HASHES.
func plainHashFile() { plainRun(plainHashes) }
