// Package tracker is a tracker of a p2pshare network as a library: accounts,
// groups and who has what, kept in step with the other trackers of its list.
//
// What users do (accounts, groups, memberships, shares) is durable: it is on
// this tracker's disk, and on that of a second one where one is connected,
// before it is answered. Who is online and what they offer is a lease that
// lives as long as the client's stream and a few seconds longer. During a cut
// each side goes on alone; afterwards both hold the join of what was done.
//
// The package uses the wire of package protocol and knows nothing of clients.
package tracker
