package shell

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
)

// Whatever others have named, a line of JSON holds it as it is and drives no terminal.
func FuzzJSONEscapes(f *testing.F) {
	for _, text := range []string{"lecture.mp4", "\x1b[2J", "\u009b", "evil\u202egpj.exe", "\U000e0041", "a\"\\b", "\xff", "\u2028"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		defer frugal.Check(t)()
		var plain bytes.Buffer
		enc := json.NewEncoder(&plain)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(text); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		s := &Shell{Options: Options{Out: &out}}
		s.object(text)
		line := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
		var got, want string
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q becomes %q: %v", text, line, err)
		}
		if err := json.Unmarshal(plain.Bytes(), &want); err != nil || got != want {
			t.Errorf("%q is read as %q, want %q", text, got, want)
		}
		if protocol.Printable(string(line)) != string(line) {
			t.Errorf("%q is printed as %q", text, line)
		}
	})
}
