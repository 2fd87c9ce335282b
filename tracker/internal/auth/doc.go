// Package auth is what a tracker needs to let people in: password hashing with
// bounded concurrency, limits on how often anything may be tried, and the
// issuing of sessions and tickets. The service (rpc) and the operator's console
// use it. It knows neither the catalog nor the wire: what is stored, and
// whether a user may do a thing, is decided elsewhere.
package auth
