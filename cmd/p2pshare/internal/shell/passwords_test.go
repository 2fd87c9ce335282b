package shell_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/shell"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestPasswords(t *testing.T) {
	answers := func(given ...string) func(context.Context, string) (string, error) {
		return func(context.Context, string) (string, error) {
			if len(given) == 0 {
				return "", io.EOF
			}
			first := given[0]
			given = given[1:]
			return first, nil
		}
	}
	tests := []struct {
		name, line string
		twice      bool
		answers    []string
		want       string
		code       protocol.Code
	}{
		{"create", "create_user bob", false, []string{"pass word"}, "CreateUser bob pass word", ""},
		{"create, asked twice", "create_user bob", true, []string{"secret-8", "secret-8"}, "CreateUser bob secret-8", ""},
		{"create, mistyped", "create_user bob", true, []string{"secret-8", "secret-9"}, "", protocol.CodePassword},
		{"create, bad name", "create_user b/ob", true, nil, "", protocol.CodeName},
		{"login", "login bob", true, []string{"secret-8"}, "Login bob secret-8", ""},
		{"change", "change_password", false, []string{"old-word", "new-word"}, "ChangePassword old-word new-word", ""},
		{"change, asked twice", "change_password", true, []string{"old-word", "new-word", "new-word"}, "ChangePassword old-word new-word", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(false)
			r.Secret, r.SecretTwice = answers(tt.answers...), tt.twice
			if err := r.Run(t.Context(), tt.line); protocol.CodeOf(err) != tt.code {
				t.Errorf("got %v, want code %q", err, tt.code)
			}
			if got := r.client.said(); got != tt.want {
				t.Errorf("calls %q, want %q", got, tt.want)
			}
			for _, secret := range tt.answers {
				if strings.Contains(r.out.String()+r.err.String(), secret) {
					t.Errorf("%q stands in the output", secret)
				}
			}
		})
	}
	t.Run("nobody to ask", func(t *testing.T) {
		r := newRig(false)
		if err := r.Run(t.Context(), "login bob"); protocol.CodeOf(err) != protocol.CodeUsage {
			t.Errorf("got %v, want E_USAGE", err)
		}
	})
}

func TestCarriesPassword(t *testing.T) {
	tests := map[string]bool{
		"login ada": false, "login ada secret": true, "LOGIN ada secret": true, "create_user ada": false, "create_user ada secret": true,
		"change_password": false, "change_password a b": true, "login ada 'open": true, `"login" ada secret`: true, "whoami": false,
		"create_group a b": false, "": false, "# login a b": false,
	}
	for line, want := range tests {
		if got := shell.CarriesPassword(line); got != want {
			t.Errorf("CarriesPassword(%q) = %v, want %v", line, got, want)
		}
	}
}
