package token

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// DirJournal is a [Journal] in a directory, one file for each record. It is safe
// for concurrent use.
//
// Give each process a directory of its own that is still there when the process
// comes back: not a container's own disk, not one of several replicas at random.
// Processes that share one lose nothing, because records are stored only in rows
// that wait for them, but they report each other's unfinished files.
//
// It waits for the disk as long as that takes; put it on a local one.
//
// Files that are damaged or not the journal's own are reported by List and never
// changed or removed.
type DirJournal struct {
	dir string

	mu      sync.Mutex
	writing map[string]bool // temporary names in use
}

var _ Journal = (*DirJournal)(nil)

const (
	recordExt = ".record"
	tempExt   = ".tmp"
	idLen     = 32 // of newOwner
	// recordMagic begins each file; length and checksum of the record follow.
	recordMagic = "tokjrnl1"
	frameLen    = len(recordMagic) + 8
	// maxRecord bounds a record. Tokens and provider data are far smaller.
	maxRecord = 1 << 20
)

// NewDirJournal returns the journal in dir, which is made with mode 0700 if it is
// not there; its parent must be. The error says that dir is not a directory or
// cannot be written to. Files have the mode 0600.
func NewDirJournal(dir string) (*DirJournal, error) {
	dir, err := filepath.Abs(dir) // the working directory may change
	if err != nil {
		return nil, fmt.Errorf("integrations/token: journal: %w", err)
	}
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return nil, fmt.Errorf("integrations/token: journal: %w", err)
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("integrations/token: journal: %w", err)
	}
	j := &DirJournal{dir: dir, writing: map[string]bool{}}
	// Tried now: the first record comes when a token has been spent.
	probe := newOwner() + tempExt
	if err := errors.Join(j.write(probe, nil), os.Remove(j.path(probe)), syncDir(dir)); err != nil {
		return nil, fmt.Errorf("integrations/token: journal: %w", err)
	}
	return j, nil
}

func (j *DirJournal) path(name string) string { return filepath.Join(j.dir, name) }

// Append implements [Journal]. The record is in its file, and the file in the
// directory, on the disk when it returns.
func (j *DirJournal) Append(ctx context.Context, record []byte) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if len(record) > maxRecord {
		return "", fmt.Errorf("integrations/token: journal: a record of %d bytes is too large", len(record))
	}
	id := newOwner()
	name := id + recordExt
	temp := name + tempExt
	j.mark(temp, true)
	defer j.mark(temp, false)
	if err := j.write(temp, frame(record)); err != nil {
		_ = os.Remove(j.path(temp)) // best effort: it may be half a record
		return "", fmt.Errorf("integrations/token: journal: %w", err)
	}
	// From here on the record is whole, and List finds it under either name.
	if err := os.Rename(j.path(temp), j.path(name)); err != nil {
		return "", fmt.Errorf("integrations/token: journal: %w", err)
	}
	if err := syncDir(j.dir); err != nil {
		return "", fmt.Errorf("integrations/token: journal: %w", err)
	}
	return name, nil
}

func (j *DirJournal) mark(temp string, writing bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if writing {
		j.writing[temp] = true
	} else {
		delete(j.writing, temp)
	}
}

func (j *DirJournal) busy(name string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.writing[name]
}

// write makes a file and waits until it is on the disk.
func (j *DirJournal) write(name string, text []byte) error {
	f, err := os.OpenFile(j.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Remove implements [Journal].
func (j *DirJournal) Remove(_ context.Context, id string) error {
	if !isRecordName(id) {
		return errors.New("integrations/token: journal: not an id of a record")
	}
	if err := os.Remove(j.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("integrations/token: journal: %w", err)
	}
	return nil
}

// List implements [Journal]. A record whose process died before it could give the
// file its name is one too.
func (j *DirJournal) List(ctx context.Context) ([]JournalRecord, error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, fmt.Errorf("integrations/token: journal: %w", err)
	}
	var records []JournalRecord
	var faults []error
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return records, errors.Join(append(faults, err)...)
		}
		if j.busy(e.Name()) {
			continue
		}
		if !isRecordName(e.Name()) || !e.Type().IsRegular() {
			faults = append(faults, fmt.Errorf("integrations/token: journal: %q is not the journal's", e.Name()))
			continue
		}
		text, err := j.read(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was settled, or got its name, meanwhile
		}
		var sealed []byte
		if err == nil {
			sealed, err = parseFrame(text)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("integrations/token: journal: %q: %w", e.Name(), err))
			continue
		}
		records = append(records, JournalRecord{ID: e.Name(), Sealed: sealed})
	}
	return records, errors.Join(faults...)
}

func (j *DirJournal) read(name string) ([]byte, error) {
	f, err := os.Open(j.path(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, int64(frameLen+maxRecord+1)))
}

// isRecordName reports whether a file's name is one that Append gives. It is
// nothing that leads out of the directory.
func isRecordName(name string) bool {
	id, ok := strings.CutSuffix(strings.TrimSuffix(name, tempExt), recordExt)
	return ok && len(id) == idLen && strings.Trim(id, "0123456789abcdef") == ""
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame makes the contents of a file, in which half a record is told from a whole
// one without the keys.
func frame(record []byte) []byte {
	out := make([]byte, 0, frameLen+len(record))
	out = append(out, recordMagic...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(record)))
	out = binary.BigEndian.AppendUint32(out, crc32.Checksum(record, castagnoli))
	return append(out, record...)
}

var errTorn = errors.New("damaged, or not written to the end")

// parseFrame returns the record in a file.
func parseFrame(text []byte) ([]byte, error) {
	if len(text) < frameLen || string(text[:len(recordMagic)]) != recordMagic {
		return nil, errTorn
	}
	head, record := text[len(recordMagic):frameLen], text[frameLen:]
	if len(record) > maxRecord || binary.BigEndian.Uint32(head) != uint32(len(record)) ||
		binary.BigEndian.Uint32(head[4:]) != crc32.Checksum(record, castagnoli) {
		return nil, errTorn
	}
	return record, nil
}

// syncDir waits until the names in a directory are on the disk. Windows has no
// such call for directories.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
