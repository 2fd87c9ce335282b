package shell

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// completeWait bounds how long a key press may wait for the names of groups and
// files, which trackers are asked for.
const completeWait = 2 * time.Second

// completer completes the word at the cursor: names of commands, and what names
// offers for the argument of a command behind those words.
type completer struct {
	names func(c *command, words []string) []string
}

// Do returns what may follow the word at the cursor.
func (c completer) Do(text []rune, pos int) ([][]rune, int) {
	words, last := splitOpen(string(text[:pos]))
	var names []string
	switch {
	case len(words) == 0, len(words) == 1 && strings.EqualFold(words[0], "help"):
		for _, command := range table() {
			names = append(names, command.name)
		}
	default:
		if command := lookUp(strings.ToLower(words[0])); command != nil {
			names = c.names(command, words[1:])
		}
	}
	var out [][]rune
	for _, name := range names {
		if rest, ok := cutPrefixFold(name, last.text); ok {
			if quoted, ok := last.quoteRest(rest); ok {
				out = append(out, []rune(quoted+" "))
			}
		}
	}
	return out, utf8.RuneCountInString(last.text)
}

// cutPrefixFold is strings.CutPrefix that minds no case: nor do the names.
func cutPrefixFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}

// openWord is the word that is being typed, without its quotes and backslashes.
type openWord struct {
	text    string
	quote   rune // that is open, 0 for none
	escaped bool // the last key was a backslash
}

// splitOpen cuts the beginning of a line into its words, as split does, and the
// last one, which may be empty.
func splitOpen(line string) (words []string, last openWord) {
	var text strings.Builder
	begun := false
	for _, r := range line {
		switch {
		case last.escaped:
			text.WriteRune(r)
			last.escaped = false
		case r == '\\' && last.quote != '\'':
			last.escaped, begun = true, true
		case last.quote != 0 && r == last.quote:
			last.quote = 0
		case last.quote != 0:
			text.WriteRune(r)
		case r == '\'' || r == '"':
			last.quote, begun = r, true
		case unicode.IsSpace(r):
			if begun {
				words = append(words, text.String())
			}
			text.Reset()
			begun = false
		default:
			text.WriteRune(r)
			begun = true
		}
	}
	last.text = text.String()
	return words, last
}

// quoteRest writes the rest of the word so that split reads it as it is. It
// reports false if no way leads there from what is typed.
func (w openWord) quoteRest(rest string) (string, bool) {
	special := " \t'\"\\"
	switch w.quote {
	case '\'':
		return rest + "'", !strings.Contains(rest, "'")
	case '"':
		special = `"\`
	}
	var out strings.Builder
	for i, r := range rest {
		background := r == '&' && w.quote == 0 && i == len(rest)-1 // what split would take it for
		if (background || strings.ContainsRune(special, r)) && (i > 0 || !w.escaped) {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	if w.quote != 0 {
		out.WriteRune(w.quote)
	}
	return out.String(), true
}

// kind names the argument of a command that stands behind those words, as its
// usage does: GROUP, NAME, ...; "" behind the last one, and for the value of a flag.
func (c *command) kind(words []string) string {
	at := 0
	for i, word := range words {
		switch {
		case c.flags == nil || !strings.HasPrefix(word, "-"):
			at++
		case strings.TrimLeft(word, "-") == "timeout":
			if i == len(words)-1 {
				return ""
			}
			at-- // its value is no argument
		}
	}
	var kinds []string
	for word := range strings.FieldsSeq(c.args) {
		if strings.HasPrefix(word, "[-") || word == "DURATION]" || word == "[&]" {
			continue
		}
		kinds = append(kinds, strings.Trim(word, "[]"))
	}
	if at < 0 || at >= len(kinds) {
		return ""
	}
	return kinds[at]
}

// candidates are the names that may stand behind those words of a command.
// Whatever keeps them from being known, there are none then.
func (s *Shell) candidates(ctx context.Context, c *command, words []string) (names []string) {
	ctx, cancel := context.WithTimeout(ctx, completeWait)
	defer cancel()
	switch c.kind(words) {
	case "GROUP":
		names = s.groupNames(ctx, c)
	case "NAME":
		group := words[len(words)-1]
		if c.name == "download_file" {
			files, _ := s.Client.Files(ctx, group) // none if it fails
			for _, f := range files {
				names = append(names, f.Name)
			}
			break
		}
		for _, own := range s.own(c) {
			if sameGroup(own[0], group) {
				names = append(names, own[1])
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// groupNames are those in which the command finds something: groups of one's
// own downloads and shares where it is about these, the user's groups, or for
// join_group the others.
func (s *Shell) groupNames(ctx context.Context, c *command) (names []string) {
	if own := s.own(c); own != nil {
		for _, o := range own {
			names = append(names, o[0])
		}
		return names
	}
	if c.name == "create_group" {
		return nil
	}
	groups, _ := s.Client.Groups(ctx) // none if it fails
	for _, g := range groups {
		if member := g.Role == "owner" || g.Role == "member"; member != (c.name == "join_group") {
			names = append(names, g.Name)
		}
	}
	return names
}

// own lists group and name of what a command of downloads or shares is about,
// nil for other commands.
func (s *Shell) own(c *command) [][2]string {
	list := [][2]string{}
	switch c.name {
	case "pause_download", "resume_download", "cancel_download", "wait":
		all, _ := s.Client.Downloads() // none if it fails
		for _, d := range all {
			if p := d.Progress(); !isOver(p.State) {
				list = append(list, [2]string{p.Group, p.Name})
			}
		}
	case "stop_share":
		all, _ := s.Client.Shares()
		for _, share := range all {
			list = append(list, [2]string{share.Group, share.Name})
		}
	default:
		return nil
	}
	return list
}
