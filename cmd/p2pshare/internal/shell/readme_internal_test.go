package shell

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeNamesEveryCommand keeps the README's table complete.
func TestReadmeNamesEveryCommand(t *testing.T) {
	b, err := os.ReadFile("../../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n## Commands\n")
	section, _, found := strings.Cut(rest, "\n## ")
	if !found {
		t.Fatal("the README has no section of commands")
	}
	for _, c := range table() {
		if c.name != "exit" && !strings.Contains(section, "`"+c.name) {
			t.Errorf("the README's table lacks %s", c.name)
		}
	}
}
