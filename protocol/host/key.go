package host

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/crypto/pb"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	keyFile  = "key"
	lockFile = "lock"
	// maxKeyFile is far above the 68 bytes of an Ed25519 key.
	maxKeyFile = 1 << 10
)

// LoadKey reads the Ed25519 key of dir, or makes one when create is set: folder
// 0700, file 0600. Errors: E_PERM if others can read the key or change the
// folder, E_NOT_FOUND without create, E_STATE if it is damaged. An existing
// folder that is otherwise empty is taken over and closed to others.
func LoadKey(dir string, create bool) (key crypto.PrivKey, created bool, err error) {
	path := filepath.Join(dir, keyFile)
	info, err := os.Lstat(path)
	switch {
	case err == nil:
		key, err = readKey(dir, path, info)
		return key, false, err
	case !errors.Is(err, fs.ErrNotExist):
		return nil, false, keyError(path, err)
	case !create:
		return nil, false, protocol.Errorf(protocol.CodeNotFound, "there is no key in %s", dir)
	}
	if err := claimDir(dir); err != nil {
		return nil, false, err
	}
	key, _, err = crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, false, fmt.Errorf("make a key: %w", err)
	}
	raw, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, false, fmt.Errorf("encode the key: %w", err)
	}
	switch err := writeNew(path, raw); {
	case errors.Is(err, fs.ErrExist): // another process was faster
		return LoadKey(dir, false)
	case err != nil:
		return nil, false, keyError(path, err)
	}
	return key, true, nil
}

func readKey(dir, path string, info fs.FileInfo) (crypto.PrivKey, error) {
	if err := checkPrivate(dir, path, info); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, keyError(path, err)
	}
	key, err := crypto.UnmarshalPrivateKey(raw)
	if err != nil || key.Type() != pb.KeyType_Ed25519 {
		return nil, protocol.Errorf(protocol.CodeState,
			"the key in %s is damaged; put it back from a copy, or remove it to become somebody new", path)
	}
	return key, nil
}

// checkPrivate refuses what others could have read or replaced. Windows has
// no such modes; there the folder of the user's profile protects.
func checkPrivate(dir, path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return protocol.Errorf(protocol.CodeState, "%s is not a key file", path)
	}
	if runtime.GOOS == "windows" {
		return nil
	}
	if info.Mode().Perm()&0o077 != 0 {
		return protocol.Errorf(protocol.CodePerm, "%s can be read by other users; run chmod 600 %s", path, path)
	}
	if private, err := isPrivate(dir); private || err != nil {
		return err
	}
	return protocol.Errorf(protocol.CodePerm, "%s can be read by other users; run chmod 700 %s", dir, dir)
}

// claimDir makes dir, or closes one that holds nothing yet. A folder with
// other things in it is not ours to change, unless another start has closed
// it meanwhile: those things may be its own.
func claimDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return keyError(dir, err)
	}
	if private, err := isPrivate(dir); private || err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return keyError(dir, err)
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != lockFile }) {
		if private, err := isPrivate(dir); private || err != nil {
			return err
		}
		return protocol.Errorf(protocol.CodePerm,
			"%s can be read by other users and holds other files; run chmod 700 %s, or choose another folder", dir, dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return keyError(dir, err)
	}
	return nil
}

func isPrivate(dir string) (bool, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return false, keyError(dir, err)
	}
	return runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0, nil
}

// writeNew writes a file that is either whole or not there after a power cut.
// It never takes the place of another: fs.ErrExist. (On a file system without
// links it may, if that one came at the same moment.)
func writeNew(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, ".key-*") // 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ignoreMissing(os.Remove(temp.Name()))) }()
	_, err = temp.Write(data)
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	err = os.Link(temp.Name(), path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fs.ErrExist
		}
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// syncDir makes a rename durable. Windows cannot open folders for that.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func keyError(path string, err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok && at.Path == path {
		err = at.Err // the path is told already
	}
	if errors.Is(err, fs.ErrPermission) {
		return protocol.Errorf(protocol.CodePerm, "%s: no permission: %w", path, err)
	}
	return protocol.Errorf(protocol.CodeState, "%s: %w", path, err)
}
