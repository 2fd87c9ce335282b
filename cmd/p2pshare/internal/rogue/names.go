package rogue

import "strings"

// EvilNames are names for files that lead out of a folder, into a device, onto
// a terminal, or to two spellings of one name.
func EvilNames() []string {
	return []string{
		// Ways out.
		"", ".", "..", "...", "../evil", "../../evil", "..\\evil", "a/../../evil", "/evil", "/tmp/evil", "evil/", "a/b", "a\\b",
		"C:\\evil", "C:evil", "\\\\host\\share", "//host/share", "file:///evil", "~/evil:", "a:stream", "evil\x00.txt",
		// Files that mean something where they lie.
		".bashrc", ".ssh", ".p2ps-0123456789abcdef-01234567.part", ".profile",
		// Names that no folder of some system can hold.
		"evil.", "evil ", " evil", "\u00a0evil", "evil\u3000", strings.Repeat("e", 201), strings.Repeat("é", 101),
		"e*", "e?", "e\"", "e<", "e>", "e|",
		// Devices.
		"CON", "con.txt", "Prn.tar.gz", "aux", "NUL", "nul .txt", "COM1", "com0.x", "LPT9.doc", "com¹", "CLOCK$",
		// Terminals.
		"\x1b[2Jevil", "evil\x1b]0;title\x07", "a\nb", "a\rb", "a\tb", "evil\x7f", "evil\u0080", "evil\u009b2J", "evil\x08\x08",
		// What is not seen, or seen another way.
		"evil\u202egpj.exe", "evil\u200b", "evil\u200f", "evil\u2066", "evil\u2028", "evil\u2029", "\ufeffevil", "evil\u061c",
		"evil\u2060", "evil\u00ad", "evil\u3164", "evil\U000e0041", "evil\ue000",
		// Two spellings.
		"\xff\xfe", "evil\xc0\xaf", "e\u0301vil", "\u212bevil", "evil~3f9a", "Evil~3F9A",
	}
}
