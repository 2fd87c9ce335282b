package protocol

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// The forms of names. User names are ASCII because look-alike letters of other
// scripts pass every Unicode profile that keeps such letters at all.
var (
	userForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`)
	groupForm  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9 ._-]{0,46}[A-Za-z0-9])?$`)
	suffixForm = regexp.MustCompile(`^(.+)~([0-9a-f]{4,32})$`)
	deviceForm = regexp.MustCompile(`(?i)^(con|prn|aux|nul|clock\$|(com|lpt)[0-9¹²³])$`)
)

// CanonicalUser checks a user name and returns the form under which it is
// unique: the name in lower case. Errors: E_NAME.
func CanonicalUser(name string) (string, error) {
	// Looked at before it is lowered: İ and the Kelvin sign become ASCII by that.
	if !userForm.MatchString(name) {
		return "", Errorf(CodeName, "the user name %s is not allowed: 1 to 32 of a-z, 0-9, dot, underscore and hyphen, beginning with a letter or digit", Quote(name))
	}
	return strings.ToLower(name), nil
}

// CanonicalGroup checks a group name and returns the form under which it is
// unique: lower case. Errors: E_NAME.
func CanonicalGroup(name string) (string, error) {
	if !groupForm.MatchString(name) || strings.Contains(name, "  ") {
		return "", Errorf(CodeName, "the group name %s is not allowed: 1 to 48 of letters, digits, space, dot, underscore and hyphen, with a letter or digit at both ends", Quote(name))
	}
	return strings.ToLower(name), nil
}

// CanonicalFile checks a file name, one component that is safe on every file
// system and terminal, and returns the form under which it is unique in a
// group: NFC with case folded. It rejects and never repairs, since repairing
// would give one file two spellings. Errors: E_NAME.
func CanonicalFile(name string) (string, error) {
	if reason := fileNameFault(name); reason != "" {
		return "", Errorf(CodeName, "the file name %s is not allowed: %s", Quote(name), reason)
	}
	return norm.NFC.String(cases.Fold().String(name)), nil
}

func fileNameFault(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) > 200:
		return "it is longer than 200 bytes"
	case !utf8.ValidString(name):
		return "it is not valid UTF-8"
	case !norm.NFC.IsNormalString(name):
		return "it is not in Unicode normal form C"
	case strings.HasPrefix(name, "."):
		return "it begins with a dot"
	case strings.HasSuffix(name, "."):
		return "it ends with a dot"
	case strings.TrimSpace(name) != name:
		return "it begins or ends with a space"
	case strings.ContainsAny(name, `/\`):
		return "it contains a path separator"
	case strings.ContainsAny(name, `:*?"<>|`):
		return `it contains one of : * ? " < > |`
	case strings.IndexFunc(name, isUnsafe) >= 0:
		return "it contains a control or invisible character"
	case suffixForm.MatchString(strings.ToLower(name)):
		return "it ends like a name that was made unique"
	}
	stem, _, _ := strings.Cut(name, ".")
	if deviceForm.MatchString(strings.TrimSpace(stem)) {
		return "Windows reserves it for a device"
	}
	return ""
}

// isUnsafe finds what could drive a terminal or hide what a name says:
// controls, and the format characters that are invisible or turn the direction.
func isUnsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) ||
		unicode.Is(unicode.Zp, r) || unicode.Is(unicode.Co, r) || unicode.Is(unicode.Cs, r) || r == utf8.RuneError ||
		r == 0x115F || r == 0x1160 || r == 0x3164 || r == 0xFFA0 // Hangul fillers show as nothing
}

// WithSuffix is how the later of two claimants of one name is shown: the name,
// a tilde and the first digits of its id.
func WithSuffix(name, idHex string) string { return name + "~" + idHex[:4] }

// SplitSuffix undoes WithSuffix: the name and the digits, or ok false.
func SplitSuffix(shown string) (name, digits string, ok bool) {
	m := suffixForm.FindStringSubmatch(shown)
	if m == nil {
		return shown, "", false
	}
	return m[1], m[2], true
}

// Printable escapes what may not reach a terminal or a log: control and
// direction-changing characters and broken UTF-8. Everything of other people
// passes through it before it is shown.
func Printable(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, isUnsafe) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(hexEscape(`\x`, rune(s[i]), 2))
		case isUnsafe(r) && r < 0x10000:
			b.WriteString(hexEscape(`\u`, r, 4))
		case isUnsafe(r):
			b.WriteString(hexEscape(`\U`, r, 8))
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

func hexEscape(prefix string, r rune, width int) string {
	const digits = "0123456789abcdef"
	out := make([]byte, width)
	for i := width - 1; i >= 0; i-- {
		out[i] = digits[r&15]
		r >>= 4
	}
	return prefix + string(out)
}

// Quote is Printable between double quotes, cut to 80 characters.
func Quote(s string) string {
	r := []rune(Printable(s))
	if len(r) > 80 {
		r = append(r[:79], '…')
	}
	return `"` + string(r) + `"`
}

// CheckPassword checks the length in characters, from minimum to 128, and that
// it takes at most 512 bytes of valid UTF-8: before any hashing, whose cost
// grows with the length. Errors: E_PASSWORD, which never quotes the password.
func CheckPassword(password string, minimum int) error {
	n := utf8.RuneCountInString(password)
	switch {
	case !utf8.ValidString(password):
		return Errorf(CodePassword, "the password is not allowed: it is not valid UTF-8")
	case n < minimum:
		return Errorf(CodePassword, "the password is not allowed: it has %d characters, %d are needed", n, minimum)
	case n > 128 || len(password) > 512:
		return Errorf(CodePassword, "the password is not allowed: it is longer than 128 characters")
	}
	return nil
}
