package filestore

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/flock"
)

// env is what a Partial needs of the system. Tests put faults into it.
type env struct {
	storage     func(*os.File) storage
	freeSpace   func(dir string) (uint64, error)
	preallocate func(ctx context.Context, f *os.File, size int64) (reserved bool, err error)
	link        func(root *os.Root, oldname, newname string) error
	syncFolder  func(root *os.Root) error
	found       func(bytes int64) // see OpenPartialTelling
}

func system() env {
	return env{
		storage:     func(f *os.File) storage { return syncedFile{f} },
		freeSpace:   freeSpace,
		preallocate: preallocate,
		link:        (*os.Root).Link,
		syncFolder:  SyncFolder,
		found:       func(int64) {},
	}
}

// syncedFile is a file whose Sync makes the data durable, and times not.
type syncedFile struct{ *os.File }

func (f syncedFile) Sync() error { return dataSync(f.File) }

// WriteAt lets the system begin at once to bring the bytes to the disk, so that
// the next Sync has less to wait for.
func (f syncedFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(b, off)
	if err == nil {
		startSync(f.File, off, int64(n))
	}
	return n, err
}

// OpenPartial makes or reopens the partial file of t: preallocates it, trusts
// the pieces in the journal, and re-hashes other pieces that have data (an
// unclean stop leaves such). A file finished but not yet renamed, or renamed
// but not yet recorded, is found too. Errors: E_TARGET_EXISTS, E_DISK_FULL,
// E_LOCKED when another Partial has the file open, E_NOT_FOUND without the
// folder, E_STATE, E_PERM.
func OpenPartial(ctx context.Context, t Target, m *protocol.Manifest, j Journal) (*Partial, error) {
	return OpenPartialTelling(ctx, t, m, j, func(int64) {})
}

// OpenPartialTelling is OpenPartial with word of what is found on disk, which may
// take minutes: found is told of further good bytes, from several goroutines.
func OpenPartialTelling(ctx context.Context, t Target, m *protocol.Manifest, j Journal, found func(bytes int64)) (*Partial, error) {
	e := system()
	e.found = found
	return openPartial(ctx, t, m, j, e)
}

func openPartial(ctx context.Context, t Target, m *protocol.Manifest, j Journal, e env) (*Partial, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(t.Dir)
	if err != nil {
		return nil, LocalFault(err, "opening the folder", t.Dir)
	}
	p := &Partial{
		target: t, manifest: m, env: e, root: root,
		pieces:    newLedger(len(m.Pieces), int(max(2, volatileBytes/m.PieceLength))),
		finishing: make(chan struct{}, 1),
		lost:      make(chan struct{}, 1),
		room:      room{dir: t.Dir, margin: max(spaceMargin, m.Size/100), free: e.freeSpace},
	}
	o := opener{Partial: p, journal: j}
	if err := o.open(ctx); err != nil {
		return nil, errors.Join(LocalFault(err, "opening", p.partPath()), p.release())
	}
	p.sync.begin(p, j, o.saved)
	return p, nil
}

// opener brings a Partial into step with what is on disk.
type opener struct {
	*Partial
	journal Journal
	saved   bitfield // what the journal holds; nil if nothing or nonsense
	damaged bool     // it holds nonsense
}

func (o *opener) open(ctx context.Context) error {
	bits, err := o.journal.Load()
	if ok := false; err == nil && bits != nil {
		o.saved, ok = parseBitfield(bits, len(o.manifest.Pieces))
		o.damaged = !ok
	}
	if o.damaged = o.damaged || err != nil; o.damaged {
		log.Errorw("the journal of a download is damaged, looking at the data itself", "file", o.manifest.ID(), "err", err)
	}
	part, err := o.lstat(o.target.Part)
	if err != nil {
		return err
	}
	final, err := o.lstat(o.target.Name)
	if err != nil {
		return err
	}
	if final != nil {
		done, err := o.adopt(ctx, part, final)
		if done || err != nil {
			return err
		}
	}
	if part != nil {
		again, err := o.reopen(ctx, part)
		if err != nil || !again {
			return err
		}
	} else if err := o.away(); err != nil {
		return err
	}
	return o.create(ctx)
}

// away returns an error if the partial file may well be on a disk which is away:
// it had pieces, and the folder is not the one that it was in.
func (o *opener) away() error {
	if !o.damaged && o.saved.count() == 0 || o.target.Folder == 0 {
		return nil
	}
	if now := folderID(o.root.Open(".")); now == 0 || now == o.target.Folder {
		return nil
	}
	return protocol.Errorf(protocol.CodeState, "the partial file %s is missing, and its folder is not the one that the download began in: attach the disk that it is on, or cancel the download and begin it anew", shown(o.partPath()))
}

// lstat returns nil for a name that does not exist.
func (o *opener) lstat(name string) (os.FileInfo, error) {
	info, err := o.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return info, err
}

// adopt looks whether the file under the target's name is what an earlier run
// finished: the partial file under its second name, or, the partial one being
// gone and the journal complete or unreadable, the same content. Anything else
// is somebody else's and E_TARGET_EXISTS. A mere claim on the name is taken back.
func (o *opener) adopt(ctx context.Context, part, final os.FileInfo) (done bool, err error) {
	exists := targetExists(o.target.Path())
	if !final.Mode().IsRegular() {
		return false, exists
	}
	linked := part != nil && os.SameFile(part, final)
	if !linked {
		if o.isClaim(final) {
			return false, o.root.Remove(o.target.Name)
		}
		complete := o.damaged || o.saved != nil && o.saved.equal(fullBitfield(len(o.manifest.Pieces)))
		if part != nil || !complete {
			return false, exists
		}
	}
	if final.Size() != o.manifest.Size {
		return false, exists
	}
	f, err := o.root.OpenFile(o.target.Name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return false, err
	}
	o.use(f)
	if same, err := o.named(o.target.Name); err != nil || !same {
		return false, errors.Join(exists, err)
	}
	good, err := recheck(ctx, f, o.manifest, allPieces(o.manifest), o.env.found)
	if err != nil {
		return false, err
	}
	if good.count() != len(o.manifest.Pieces) {
		return false, exists
	}
	o.saved = good
	o.pieces.hold(good)
	o.placed = true
	return true, nil
}

// reopen takes up the partial file that an earlier run left. again means that
// it is no good and gone, and a new one is to be made.
func (o *opener) reopen(ctx context.Context, part os.FileInfo) (again bool, err error) {
	if !part.Mode().IsRegular() {
		return false, protocol.Errorf(protocol.CodeState, "%s is not a regular file; remove it", shown(o.partPath()))
	}
	f, err := o.root.OpenFile(o.target.Part, os.O_RDWR|nonblock, 0)
	if err != nil {
		return false, err
	}
	o.use(f)
	if err := o.lock(); err != nil {
		return false, err
	}
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	known, err := factsOf(f, info)
	if err != nil {
		return false, err
	}
	if !known.own {
		return false, protocol.Errorf(protocol.CodePerm, "%s belongs to another user; name another destination", shown(o.partPath()))
	}
	if known.links > 1 {
		// Writing would change the file under its other name too.
		log.Errorw("a partial file has a second name, beginning anew", "file", o.manifest.ID())
		err := errors.Join(o.root.Remove(o.target.Part), f.Close())
		o.file, o.data = nil, nil
		return true, err
	}
	if err := f.Chmod(0o600); err != nil {
		return false, err
	}
	if info.Size() != o.manifest.Size {
		if err := o.resetJournal(); err != nil {
			return false, err
		}
		if err := f.Truncate(min(info.Size(), o.manifest.Size)); err != nil {
			return false, err
		}
	}
	if err := o.allocate(ctx, known.allocated); err != nil {
		return false, err
	}
	return false, o.resume(ctx)
}

// resume decides which pieces are there: those of the journal that have data
// are trusted, those with data of which it does not know are looked at, as are
// those that it has but the disk has not.
func (o *opener) resume(ctx context.Context) error {
	m := o.manifest
	trusted, look := newBitfield(len(m.Pieces)), []int(nil)
	for i := range m.Pieces {
		journaled := o.saved != nil && o.saved.has(i)
		switch written := hasData(o.file, m.PieceOffset(i), m.PieceSize(i)); {
		case journaled && written:
			trusted.set(i)
		case journaled != written:
			look = append(look, i)
		}
	}
	var known int64
	for i := range m.Pieces {
		if trusted.has(i) {
			known += m.PieceSize(i)
		}
	}
	o.env.found(known)
	good, err := recheck(ctx, o.data, m, look, o.env.found)
	if err != nil {
		return err
	}
	o.pieces.hold(trusted)
	o.pieces.hold(good)
	return nil
}

// create makes a new partial file. Whatever the journal says is of another one.
func (o *opener) create(ctx context.Context) error {
	if o.damaged || o.saved != nil {
		if err := o.resetJournal(); err != nil {
			return err
		}
	}
	f, err := o.root.OpenFile(o.target.Part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	o.use(f)
	err = o.lock()
	if err == nil {
		err = o.allocate(ctx, 0)
	}
	if err != nil {
		return errors.Join(err, o.removePart())
	}
	return o.env.syncFolder(o.root)
}

// resetJournal forgets the journal before the data is changed that it is about.
func (o *opener) resetJournal() error {
	none := newBitfield(len(o.manifest.Pieces))
	if err := o.journal.Save(none); err != nil {
		return journalFault(err, o.partPath())
	}
	o.saved = none
	return nil
}

// lock makes sure that nobody else writes to the file that is open, and that
// it still has its name.
func (o *opener) lock() error {
	free, err := flock.Try(o.file)
	if err != nil {
		return err
	}
	if free {
		free, err = o.named(o.target.Part)
	}
	if err == nil && !free {
		err = protocol.Errorf(protocol.CodeLocked, "another download of this file to the folder %s is under way", shown(o.target.Dir))
	}
	return err
}

// allocate makes room for the whole file, of which so many bytes are allocated.
func (o *opener) allocate(ctx context.Context, allocated int64) error {
	if left := o.manifest.Size - allocated; left > 0 {
		if err := o.room.check(left); err != nil {
			return err
		}
	}
	reserved, err := o.env.preallocate(ctx, o.file, o.manifest.Size)
	o.room.reserved = reserved
	return err
}

func (o *opener) use(f *os.File) { o.file, o.data = f, o.env.storage(f) }
