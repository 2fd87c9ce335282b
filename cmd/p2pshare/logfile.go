package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// logFile is the log of a process: what users did, and what the libraries say.
type logFile struct{ *lumberjack.Logger }

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
	l := &logFile{&lumberjack.Logger{Filename: path, MaxSize: logFileMiB, MaxBackups: logFileKept}}
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
	_, _ = l.Write([]byte(b.String())) // a log that cannot be written stops no work
}
