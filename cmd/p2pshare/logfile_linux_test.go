package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A log on a full disk is told of once; who writes it is not, since libraries
// would print that line by line.
func TestLogOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(dir, "full.log")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"full.log", "test.log"} {
		log, err := openLog(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		var told []error
		log.onChange = func(err error) { told = append(told, err) }
		log.failed = name == "test.log" // there was no room before
		log.begin()
		for range 3 {
			if n, err := log.Write([]byte("line\n")); n != 5 || err != nil {
				t.Errorf("%s: Write = %d, %v", name, n, err)
			}
		}
		if len(told) != 1 || errors.Is(told[0], syscall.ENOSPC) != (name == "full.log") {
			t.Errorf("%s: told %v, want once that the disk is full, or that it is not any more", name, told)
		}
	}
}
