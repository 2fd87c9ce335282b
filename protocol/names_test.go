package protocol_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestUserNames(t *testing.T) {
	tests := []struct {
		name, want string
	}{
		{"ada", "ada"},
		{"Ada", "ada"},
		{"9lives", "9lives"},
		{"a.b_c-d", "a.b_c-d"},
		{strings.Repeat("x", 32), strings.Repeat("x", 32)},
		{"", ""},
		{strings.Repeat("x", 33), ""},
		{".ada", ""},
		{"ada lovelace", ""},
		{"аda", ""},      // Cyrillic
		{"\u212A", ""},   // the Kelvin sign, which is k in lower case
		{"\u0130da", ""}, // i with a dot
		{"ada\n", ""},
		{"bob~3f9a", ""},
		{"../ada", ""},
	}
	for _, test := range tests {
		got, err := protocol.CanonicalUser(test.name)
		check(t, test.name, got, test.want, err)
	}
}

func TestGroupNames(t *testing.T) {
	tests := []struct {
		name, want string
	}{
		{"Compilers 2026", "compilers 2026"},
		{"a", "a"},
		{strings.Repeat("x", 48), strings.Repeat("x", 48)},
		{strings.Repeat("x", 49), ""},
		{"two  spaces", ""},
		{" lead", ""},
		{"trail ", ""},
		{"a/b", ""},
		{"a~b", ""},
		{"a\tb", ""},
		{"groß", ""},
	}
	for _, test := range tests {
		got, err := protocol.CanonicalGroup(test.name)
		check(t, test.name, got, test.want, err)
	}
}

func check(t *testing.T, name, got, want string, err error) {
	t.Helper()
	switch {
	case want == "" && !errors.Is(err, protocol.ErrName):
		t.Errorf("%q: got %q, %v, want E_NAME", name, got, err)
	case want != "" && (err != nil || got != want):
		t.Errorf("%q: got %q, %v, want %q", name, got, err, want)
	}
}

func TestFileNames(t *testing.T) {
	for name, want := range map[string]string{
		"lecture-07.mp4":         "lecture-07.mp4",
		"Two words.PDF":          "two words.pdf",
		"Grüße aus Köln.txt":     "grüsse aus köln.txt",
		"日本語.txt":                "日本語.txt",
		"console.log":            "console.log",
		strings.Repeat("x", 200): strings.Repeat("x", 200),
	} {
		got, err := protocol.CanonicalFile(name)
		check(t, name, got, want, err)
	}
	for _, name := range evilFileNames {
		got, err := protocol.CanonicalFile(name)
		check(t, name, got, "", err)
		if err != nil && strings.IndexFunc(err.Error(), unicode.IsControl) >= 0 {
			t.Errorf("%q: the error carries a control character", name)
		}
	}
}

// evilFileNames are ways out of a folder, into a device, onto a terminal, or
// to two spellings of one name.
var evilFileNames = []string{
	"", ".", "..", "...", "../x", "..\\x", "a/b", "/etc/passwd", "a\\b", "C:\\x", "C:x", "a:b", "\\\\host\\share",
	"x/", "x.", "x ", " x", "\u00a0x", ".ssh", ".bashrc", ".p2ps-0123.part", "-\x00", "a\x00b", "a\nb", "a\rb", "a\tb",
	"\x1b[2Jx", "a\x1b]0;title\x07", "a\x7f", "a\u0080b", "a\u009bb", "a\u202egpj.exe", "a\u200bb", "a\u200fb", "a\u2066b",
	"a\u2028b", "a\u2029b", "\ufeffx", "a\u061cb", "a\u2060b", "a\u00adb", "a\u3164b", "con", "CON", "con.txt", "Prn.tar.gz", "aux.", "NUL", "nul.txt",
	"COM1", "com0.x", "LPT9.doc", "com¹", "CLOCK$", "nul .txt", "a*b", "a?b", "a\"b", "a<b", "a>b", "a|b",
	"\xff\xfe", "a\xc0\xaf", "e\u0301.txt", strings.Repeat("x", 201), "bob~3f9a", "Bob~3F9A", "\ue000x",
}

func TestSuffixes(t *testing.T) {
	shown := protocol.WithSuffix("bob", "3f9a12")
	if shown != "bob~3f9a" {
		t.Errorf("got %q", shown)
	}
	name, digits, ok := protocol.SplitSuffix(shown)
	if name != "bob" || digits != "3f9a" || !ok {
		t.Errorf("got %q %q %v", name, digits, ok)
	}
	if _, _, ok := protocol.SplitSuffix("bob"); ok {
		t.Error("a bare name has a suffix")
	}
}

func TestPasswords(t *testing.T) {
	for password, ok := range map[string]bool{
		"correct horse": true, "short": false, strings.Repeat("ü", 128): true,
		strings.Repeat("x", 129): false, "bad\xffutf8 password": false,
	} {
		err := protocol.CheckPassword(password, 8)
		if (err == nil) != ok {
			t.Errorf("%q: got %v, want ok %v", password, err, ok)
		}
		if err != nil && (protocol.CodeOf(err) != protocol.CodePassword || strings.Contains(err.Error(), password)) {
			t.Errorf("%q: got %v", password, err)
		}
	}
}

func FuzzFileName(f *testing.F) {
	for _, name := range evilFileNames {
		f.Add(name)
	}
	f.Add("lecture-07.mp4")
	f.Fuzz(func(t *testing.T, name string) {
		defer frugal.Check(t)()
		canonical, err := protocol.CanonicalFile(name)
		if err != nil {
			return
		}
		if strings.ContainsAny(name, "/\\\x00") || protocol.Printable(name) != name {
			t.Errorf("%q was accepted", name)
		}
		if again, err := protocol.CanonicalFile(name); err != nil || again != canonical {
			t.Errorf("%q: got %q, then %q", name, canonical, again)
		}
	})
}

func FuzzPrintable(f *testing.F) {
	for _, name := range evilFileNames {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, s string) {
		defer frugal.Check(t)()
		got := protocol.Printable(s)
		for _, r := range got {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("%q lets %U through", s, r)
			}
		}
		if protocol.Printable(got) != got {
			t.Errorf("%q is escaped twice", s)
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, name := range evilFileNames {
		f.Add(name)
	}
	f.Add("Ada")
	f.Add("Compilers 2026")
	f.Fuzz(func(t *testing.T, name string) {
		defer frugal.Check(t)()
		for what, canonical := range map[string]func(string) (string, error){
			"user": protocol.CanonicalUser, "group": protocol.CanonicalGroup,
		} {
			got, err := canonical(name)
			if err != nil {
				if protocol.Printable(err.Error()) != err.Error() {
					t.Errorf("the refusal of the %s %q is not fit for a terminal: %q", what, name, err)
				}
				continue
			}
			if strings.ContainsFunc(name, func(r rune) bool { return r > '~' || r < ' ' || r == '/' }) || len(name) > 48 {
				t.Errorf("the %s %q was accepted", what, name)
			}
			if again, err := canonical(got); err != nil || again != got {
				t.Errorf("the %s %q: got %q, then %q", what, name, got, again)
			}
		}
	})
}

func FuzzStamp(f *testing.F) {
	f.Add("1800000000000-7-12D3KooWabc")
	f.Add("--")
	f.Add("9223372036854775808-0-x")
	f.Fuzz(func(t *testing.T, text string) {
		defer frugal.Check(t)()
		s, err := protocol.ParseStamp(text)
		if err != nil {
			return
		}
		if again, err := protocol.ParseStamp(s.String()); err != nil || again != s {
			t.Errorf("%q: got %v, then %v, %v", text, s, again, err)
		}
	})
}
