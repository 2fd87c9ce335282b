// Package sim has the tests that run networks of trackers in virtual time. It
// has nothing else.
//
// There are two kinds of network, since one does not do for all. On a lan (see
// lan_test.go) hosts are a few maps and bytes go from slice to slice, so that a
// world of five minutes takes a fifth of a second of one core: enough for
// thousands of random worlds. On simnet (fabric_test.go) the hosts are those of
// libp2p with QUIC on simulated packets: about ten times slower, so one in a
// hundred of the random worlds runs there, and the scripted worlds of whole
// trackers and nodes (network_test.go). On both the replica runs as it is,
// gossipsub included; in random worlds over a disk that loses what was not synced.
//
// Scripted worlds show one thing each. In those of kills_test.go a tracker dies at one
// moment of a write: a trap in front of the disks and on the lan sees where the write is.
//
// Random worlds are of two kinds as well. In worlds (random_test.go) the users do
// what the service would do for them, so that the facts of each answered change
// are known and looked for at the end. In societies (society_test.go) the whole
// service stands in front of the replicas, people have nodes that share and fetch
// files, and a wiretap reads every byte: no piece without a ticket for it, no
// ticket from a tracker that knows of the removal, no password verifier to
// clients or on the topic, no address of a member to anybody but members.
//
// A random world follows a script made from its seed before it begins: what is
// done when, what fails when, and what a crash leaves of a commit under way. The
// same seed gives the same script; how goroutines interleave within one instant
// is up to the scheduler, so a failure may take a few runs to come back.
package sim
