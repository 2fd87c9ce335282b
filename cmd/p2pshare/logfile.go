package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/gologshim"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/p2pshare/p2pshare/protocol"
)

// Rotation: ten files of 20 MiB keep months of a busy tracker and cannot fill a disk.
const (
	logFileMiB  = 20
	logFileKept = 10
)

// earlyLog is how much is kept of what is written before begin; the rest is lost.
const earlyLog = 64 << 10

// logFile is the log of a process: what users did, and what the libraries say.
// It is safe for concurrent use. Nothing is written before begin: until the
// folder is this process's alone, the file is perhaps another's.
type logFile struct {
	file *lumberjack.Logger

	// onChange, if set, is told when it cannot be written, and when it can again
	// (nil). It must be set before begin.
	onChange func(error)

	mu     sync.Mutex
	begun  bool
	early  []byte
	failed bool
}

// begin writes what was kept, and from now on everything.
func (l *logFile) begin() {
	l.mu.Lock()
	early := l.early
	l.begun, l.early = true, nil
	l.mu.Unlock()
	if len(early) > 0 {
		l.write(early)
	}
}

// Write writes, or keeps, whole lines. It never fails: a log that cannot be
// written stops no work, and those who write it would tell of it line by line.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	begun := l.begun
	if !begun && len(l.early)+len(p) <= earlyLog {
		l.early = append(l.early, p...)
	}
	l.mu.Unlock()
	if !begun {
		return len(p), nil
	}
	l.write(p)
	return len(p), nil
}

func (l *logFile) write(p []byte) {
	_, err := l.file.Write(p)
	l.mu.Lock()
	changed := l.failed != (err != nil)
	l.failed = err != nil
	l.mu.Unlock()
	if changed && l.onChange != nil {
		l.onChange(err)
	}
}

// Close ends the log.
func (l *logFile) Close() error { return l.file.Close() }

// openLog opens the log in a folder that exists, and sends there what go-log,
// libp2p and pubsub have to say; their level is that of GOLOG_LOG_LEVEL, or error.
func openLog(dir, name string) (*logFile, error) {
	path := filepath.Join(dir, name)
	// A new file of the rotation takes the mode of the one before it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeConfig, "the log cannot be written: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, protocol.Errorf(protocol.CodeConfig, "the log cannot be written: %w", err)
	}
	l := &logFile{file: &lumberjack.Logger{Filename: path, MaxSize: logFileMiB, MaxBackups: logFileKept}}
	encoder := zap.NewProductionEncoderConfig()
	encoder.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	logging.SetPrimaryCore(zapcore.NewCore(zapcore.NewJSONEncoder(encoder), zapcore.AddSync(l), zapcore.DebugLevel))
	gologshim.SetDefaultHandler(logging.SlogHandler())
	return l, nil
}

// line writes one line: the time, then the pairs of key and value whose value
// is not empty, each value quoted. Nothing that a value holds can end the line.
func (l *logFile) line(at time.Time, pairs ...string) {
	var b strings.Builder
	b.WriteString(at.UTC().Format("2006-01-02T15:04:05.000Z"))
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(&b, " %s=%s", pairs[i], strconv.QuoteToGraphic(protocol.Printable(pairs[i+1])))
		}
	}
	b.WriteByte('\n')
	_, _ = l.Write([]byte(b.String())) // it never fails
}
