package auth

import (
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/internal/frugal"
)

const goodPHC = "$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func TestParseRecord(t *testing.T) {
	tests := []struct {
		name, phc string
		want      bool
	}{
		{"good", goodPHC, true},
		{"at the clamps", strings.Replace(goodPHC, "m=64,t=1,p=1", "m=65536,t=5,p=4", 1), true},
		{"empty", "", false},
		{"too much memory", strings.Replace(goodPHC, "m=64", "m=65537", 1), false},
		{"memory beyond 32 bits", strings.Replace(goodPHC, "m=64", "m=4294967360", 1), false},
		{"too many passes", strings.Replace(goodPHC, "t=1", "t=6", 1), false},
		{"too many threads", strings.Replace(goodPHC, "p=1", "p=5", 1), false},
		{"no threads", strings.Replace(goodPHC, "p=1", "p=0", 1), false},
		{"too little memory", strings.Replace(goodPHC, "m=64", "m=7", 1), false},
		{"another algorithm", strings.Replace(goodPHC, "argon2id", "argon2i", 1), false},
		{"another version", strings.Replace(goodPHC, "v=19", "v=16", 1), false},
		{"spelt with a sign", strings.Replace(goodPHC, "m=64", "m=+64", 1), false},
		{"padding", goodPHC + "=", false},
		{"short salt", strings.Replace(goodPHC, "$AAAAAAAAAAAAAAAAAAAAAA$", "$AAAA$", 1), false},
		{"short hash", goodPHC[:len(goodPHC)-30], false},
		{"something behind", goodPHC + "$x", false},
		{"long", goodPHC + strings.Repeat("A", 400), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := parseRecord(tt.phc)
			if (err == nil) != tt.want {
				t.Fatalf("parseRecord(%q): err %v, want good %v", tt.phc, err, tt.want)
			}
			if err == nil && r.String() != tt.phc {
				t.Errorf("String() = %q, want %q", r.String(), tt.phc)
			}
		})
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(goodPHC)
	f.Add("")
	f.Add("$argon2id$v=19$m=4294967295,t=9,p=9$$")
	f.Fuzz(func(t *testing.T, phc string) {
		defer frugal.Check(t)()
		r, err := parseRecord(phc)
		if err != nil {
			return
		}
		if r.String() != phc {
			t.Errorf("parsed %q, which is written %q", phc, r.String())
		}
		if !r.params.usable() {
			t.Errorf("parsed %q beyond the clamps", phc)
		}
	})
}
