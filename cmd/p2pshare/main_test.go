package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be the program: under the name p2pshare it runs
// main, so that scripts start real processes without a build. The other names
// are for BenchmarkTransfer.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"p2pshare":         main,
		"plain-send":       plainSend,
		"plain-receive":    plainReceive,
		"plain-hashes":     plainHashFile,
		"announced-seeder": announcedSeeder,
	})
}
