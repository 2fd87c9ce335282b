package main

import (
	"context"
	cryptorand "crypto/rand"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/p2pshare/p2pshare/protocol"
)

// demoFile is a file on disk and what is known of it.
type demoFile struct {
	path, name string
	size       int64
	pieces     int
	sha1       []byte
}

// givenFile checks a file that the user names.
func givenFile(path string) (demoFile, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return demoFile{}, protocol.Errorf(protocol.CodeNotFound, "%s does not exist", protocol.Quote(path))
	case err != nil:
		return demoFile{}, protocol.Errorf(protocol.CodeConfig, "the file cannot be read: %w", err)
	case !info.Mode().IsRegular():
		return demoFile{}, protocol.Errorf(protocol.CodeNotRegular, "%s is not a regular file", protocol.Quote(path))
	}
	if path, err = filepath.Abs(path); err != nil {
		return demoFile{}, fmt.Errorf("find the file: %w", err)
	}
	return demoFile{path: path, size: info.Size()}, nil
}

// randomFile makes a file of random bytes.
func randomFile(ctx context.Context, path string, size int64) (demoFile, error) {
	var seed [32]byte
	_, _ = cryptorand.Read(seed[:])
	f, err := os.Create(path)
	if err != nil {
		return demoFile{}, fmt.Errorf("make a file: %w", err)
	}
	sum := sha1.New()
	_, err = io.CopyN(io.MultiWriter(f, sum), stoppable{ctx, rand.NewChaCha8(seed)}, size)
	if err = errors.Join(err, f.Close()); err != nil {
		return demoFile{}, fmt.Errorf("make a file: %w", err)
	}
	return demoFile{path: path, size: size, sha1: sum.Sum(nil)}, nil
}

// hash reads the file for its size and SHA-1.
func (d *demoFile) hash(ctx context.Context) error {
	f, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	defer f.Close()
	sum := sha1.New()
	if d.size, err = io.Copy(sum, stoppable{ctx, f}); err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	d.sha1 = sum.Sum(nil)
	return nil
}

// stoppable is a reader that ends with its context.
type stoppable struct {
	ctx context.Context //nolint:containedctx // it lives for one copy
	r   io.Reader
}

func (s stoppable) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(b)
}
