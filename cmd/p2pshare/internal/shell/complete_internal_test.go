package shell

import (
	"slices"
	"strings"
	"testing"
)

func TestSplitOpen(t *testing.T) {
	for _, tt := range []struct {
		line  string
		words []string
		last  openWord
	}{
		{"", nil, openWord{}},
		{"  ab", nil, openWord{text: "ab"}},
		{"ab ", []string{"ab"}, openWord{}},
		{`a "b c" 'd e`, []string{"a", "b c"}, openWord{text: "d e", quote: '\''}},
		{`a b\ c\`, []string{"a"}, openWord{text: "b c", escaped: true}},
		{`a "b\"c`, []string{"a"}, openWord{text: `b"c`, quote: '"'}},
		{`a 'b\c`, []string{"a"}, openWord{text: `b\c`, quote: '\''}},
		{`a "" x`, []string{"a", ""}, openWord{text: "x"}},
	} {
		words, last := splitOpen(tt.line)
		if !slices.Equal(words, tt.words) || last != tt.last {
			t.Errorf("%q: %q %+v, want %q %+v", tt.line, words, last, tt.words, tt.last)
		}
	}
}

// Whatever is completed is read as the name that was meant.
func TestCompletedWordsAreReadAsTheName(t *testing.T) {
	names := []string{"plain.bin", "two words.bin", `quo"te's.bin`, `back\slash`, "übung 1.pdf", "notes &", "&", "q&a.txt"}
	c := completer{func(*command, []string) []string { return names }}
	for _, name := range names {
		runes := []rune(name)
		for _, begun := range []string{"", string(runes[:min(2, len(runes)-1)]), `"`, `"` + string(runes[:1]), "'", "'" + string(runes[:1])} {
			line := "download_file lab " + begun
			rests, _ := c.Do([]rune(line), len([]rune(line)))
			found := false
			for _, rest := range rests {
				words, background, err := split(line + string(rest))
				if err != nil || background || len(words) != 3 || !slices.Contains(names, words[2]) {
					t.Errorf("%q completed to %q is read as %q, %v", line, line+string(rest), words, err)
					continue
				}
				found = found || words[2] == name
			}
			if impossible := strings.HasPrefix(begun, "'") && strings.Contains(name, "'"); !found && !impossible {
				t.Errorf("%q is not completed to %q: %q", line, name, rests)
			}
		}
	}
}

func TestArgumentKinds(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"download_file ", "GROUP"},
		{"download_file lab ", "NAME"},
		{"download_file lab f ", "DEST"},
		{"download_file lab f d ", ""},
		{"download_file --timeout ", ""},
		{"download_file --timeout 5s ", "GROUP"},
		{"download_file --timeout=5s lab ", "NAME"},
		{"wait ", "GROUP"},
		{"wait lab ", "NAME"},
		{"upload_file lab ", "PATH"},
		{"accept_request lab ", "USER"},
		{"show_downloads ", ""},
		{"quit ", ""},
	} {
		words, _ := splitOpen(tt.line)
		if got := lookUp(words[0]).kind(words[1:]); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.line, got, tt.want)
		}
	}
}
