package catalog

import "github.com/p2pshare/p2pshare/protocol"

// NewAccount is account, verifier and name of a new user.
func NewAccount(id protocol.UserID, canonical, phc string) []Draft {
	return []Draft{
		draft(userKey("user", id), accountValue{name: canonical}),
		draft(userKey("cred", id), verifierValue{phc: phc}),
		draft(userNameKey(canonical, id), userNameValue{}),
	}
}

// NewPassword is a new verifier: one more reset by the operator, or one more change by the user.
func (c *Catalog) NewPassword(id protocol.UserID, phc string, reset bool) []Draft {
	now, _ := c.Verifier(id)
	next := verifierValue{resets: now.Resets, changes: now.Changes + 1, phc: phc}
	if reset {
		next.resets, next.changes = now.Resets+1, 0
	}
	return []Draft{draft(userKey("cred", id), next)}
}

// NewHash is another hash of the password that a user has now: nothing when the
// verifier is not of that time any more. Sessions go on.
func (c *Catalog) NewHash(id protocol.UserID, set protocol.Stamp, phc string) []Draft {
	now, ok := c.Verifier(id)
	if !ok || now.Set != set {
		return nil
	}
	return []Draft{draft(userKey("cred", id), verifierValue{resets: now.Resets, changes: now.Changes, phc: phc, set: set})}
}

// SetDisabled switches an account off or on.
func SetDisabled(id protocol.UserID, off bool) []Draft {
	return []Draft{draft(userKey("disabled", id), disabledValue{off: off})}
}

// NewSession records a login. A device name that is too long is cut.
func NewSession(u protocol.UserID, s Session) []Draft {
	v := sessionValue{device: cutText(s.Device, maxDevice), since: s.Since, until: s.Until, client: s.Client}
	return []Draft{draft(sessionKey(u, s.ID), v)}
}

// RevokeSession ends a session; until is when it could no longer be renewed, Unix milliseconds.
func RevokeSession(id protocol.SessionID, u protocol.UserID, until int64) []Draft {
	return []Draft{draft(revokedKey(id), revokedValue{user: u, until: until})}
}

// cutText returns the longest beginning of s, escaped as for a terminal, of at
// most limit bytes of whole characters.
func cutText(s string, limit int) string {
	s = protocol.Printable(s)
	if len(s) <= limit {
		return s
	}
	end := 0
	for i := range s {
		if i > limit {
			break
		}
		end = i
	}
	return s[:end]
}
