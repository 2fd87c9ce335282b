package rogue_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPromisesHaveTests holds SECURITY.md to what there is: each row of its
// tables names a test, and each test named is in the folder named.
func TestPromisesHaveTests(t *testing.T) {
	const top = "../../../.."
	page, err := os.ReadFile(filepath.Join(top, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("\\[`((?:Test|Fuzz)[A-Za-z0-9]+)`\\]\\(([a-z0-9/]+)\\)")
	rows := 0
	for line := range strings.Lines(string(page)) {
		tests := named.FindAllStringSubmatch(line, -1)
		if strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|---") && !strings.Contains(line, "| held by |") {
			rows++
			if len(tests) == 0 {
				t.Errorf("nothing holds %s", line)
			}
		}
		for _, m := range tests {
			if !declared(t, filepath.Join(top, m[2]), m[1]) {
				t.Errorf("%s has no %s", m[2], m[1])
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d promises were found on the page", rows)
	}
}

func declared(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("\nfunc "+name+"(")) {
			return true
		}
	}
	return false
}
