package rpc

import "github.com/p2pshare/p2pshare/protocol/pb"

// rule is what holds for a procedure before its handler looks at the request.
type rule struct {
	what   string // in the activity log; empty: not a thing that a user did
	always bool   // answered while this tracker is not serving, to anybody
	open   bool   // needs no session
	renew  bool   // takes a session that has expired but can be renewed
	ended  bool   // takes a session that was ended
	change bool   // counts as a change
	reads  bool   // tells what is in the catalog: what it tells has to be on disk
}

// ruleOf has an entry for every procedure; one that is not known needs a session.
func ruleOf(procedure string) rule {
	switch procedure {
	case pb.TrackerServiceHelloProcedure:
		return rule{always: true}
	case pb.TrackerServiceRegisterProcedure:
		return rule{what: "create_user", open: true}
	case pb.TrackerServiceLoginProcedure:
		return rule{what: "login", open: true}
	case pb.TrackerServiceRenewProcedure:
		return rule{what: "renew", renew: true}
	case pb.TrackerServiceLogoutProcedure:
		return rule{what: "logout", renew: true, ended: true}
	case pb.TrackerServiceChangePasswordProcedure:
		return rule{what: "change_password", change: true}
	case pb.TrackerServiceListSessionsProcedure:
		return rule{what: "sessions", reads: true}
	case pb.TrackerServiceRevokeSessionProcedure:
		return rule{what: "revoke_session", change: true}
	case pb.TrackerServiceAttachProcedure:
		return rule{what: "offline"} // written when the stream ends; "online" when it begins
	case pb.TrackerServiceCreateGroupProcedure:
		return rule{what: "create_group", change: true}
	case pb.TrackerServiceListGroupsProcedure:
		return rule{what: "list_groups", reads: true}
	case pb.TrackerServiceJoinGroupProcedure:
		return rule{what: "join_group", change: true}
	case pb.TrackerServiceLeaveGroupProcedure:
		return rule{what: "leave_group", change: true}
	case pb.TrackerServiceListRequestsProcedure:
		return rule{what: "list_requests", reads: true}
	case pb.TrackerServiceAnswerRequestProcedure:
		return rule{what: "accept_request", change: true}
	case pb.TrackerServiceListMembersProcedure:
		return rule{what: "list_members", reads: true}
	case pb.TrackerServiceRemoveMemberProcedure:
		return rule{what: "remove_member", change: true}
	case pb.TrackerServiceTransferGroupProcedure:
		return rule{what: "transfer_group", change: true}
	case pb.TrackerServiceShareFileProcedure:
		return rule{what: "upload_file", change: true}
	case pb.TrackerServiceStopShareProcedure:
		return rule{what: "stop_share", change: true}
	case pb.TrackerServiceListFilesProcedure:
		return rule{what: "list_files", reads: true}
	case pb.TrackerServiceFindFileProcedure:
		return rule{what: "find_file", reads: true}
	case pb.TrackerServiceIssueTicketProcedure:
		return rule{what: "ticket", reads: true}
	case pb.TrackerServiceListSeedersProcedure:
		return rule{reads: true} // a part of what is named above, as the following
	default: // Announce, PutManifest, GetManifest
		return rule{}
	}
}
