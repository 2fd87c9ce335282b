package shell

import (
	"errors"
	"flag"
	"slices"
	"time"
)

// table returns all commands, in the order of help.
func table() []*command {
	return slices.Concat(accountCommands(), groupCommands(), fileCommands(), downloadCommands(), otherCommands())
}

// lookUp returns the command of a name in lower case, nil if there is none.
func lookUp(name string) *command {
	for _, c := range table() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// plain makes a command without flags and passwords.
func plain(name, args, help string, counts []int, run runFunc) *command {
	return &command{name: name, args: args, help: help, counts: counts, passwordAfter: -1, run: run}
}

func accountCommands() []*command {
	withPassword := func(after int, c *command) *command {
		c.passwordAfter = after
		return c
	}
	return []*command{
		withPassword(1, plain("create_user", "USER [PASSWORD]", "make an account", []int{1, 2}, createUser)),
		withPassword(1, plain("login", "USER [PASSWORD]", "log in; what this user shares here is shared again, unfinished downloads go on", []int{1, 2}, login)),
		plain("logout", "", "log out; sharing pauses until the next login", []int{0}, logout),
		plain("whoami", "", "tell who is logged in", []int{0}, whoami),
		withPassword(0, plain("change_password", "[OLD NEW]", "change the password; other sessions of the user end", []int{0, 2}, changePassword)),
		plain("sessions", "", "list where you are logged in: id, since when, last seen, this client or another, its name", []int{0}, listSessions),
		plain("revoke_session", "ID", "end one of your sessions: its client is logged out", []int{1}, revokeSession),
	}
}

func groupCommands() []*command {
	return []*command{
		plain("create_group", "GROUP", "make a group and own it", []int{1}, createGroup),
		plain("list_groups", "", "list every group in the network", []int{0}, listGroups),
		plain("join_group", "GROUP", "ask the owner of a group to be let in", []int{1}, joinGroup),
		plain("list_requests", "GROUP", "list who asks to be let in (owner only)", []int{1}, listRequests),
		plain("accept_request", "GROUP USER", "let a user in (owner only)", []int{2}, acceptRequest),
		plain("reject_request", "GROUP USER", "refuse a user's request (owner only)", []int{2}, rejectRequest),
		plain("list_members", "GROUP", "list the members of a group", []int{1}, listMembers),
		plain("remove_member", "GROUP USER", "remove a member (owner only); who removes himself leaves", []int{2}, removeMember),
		plain("transfer_group", "GROUP USER", "make another member the owner (owner only)", []int{2}, transferGroup),
		plain("leave_group", "GROUP", "leave a group; its files here are no longer shared; when the owner leaves, the member who is in for longest owns it, and the last one to leave ends it", []int{1}, leaveGroup),
	}
}

func fileCommands() []*command {
	return []*command{
		plain("upload_file", "GROUP PATH", "share a file where it lies; PATH GROUP works as well", []int{2}, uploadFile),
		plain("list_files", "GROUP", "list the files of a group: name, size, members online with the whole file, sha1", []int{1}, listFiles),
		plain("list_shares", "", "list what is shared from here: group, name, path, state", []int{0}, listShares),
		plain("stop_share", "GROUP NAME", "stop sharing a file; the copy on disk stays", []int{2}, stopShare),
	}
}

func downloadCommands() []*command {
	timeout := func(set *flag.FlagSet, c *call) {
		set.Func("timeout", "", func(text string) (err error) {
			if c.timeout, err = time.ParseDuration(text); err != nil {
				return errors.New("DURATION is written like 90s, 5m or 1h30m")
			}
			return nil
		})
	}
	return []*command{
		{
			name: "download_file", args: "[--timeout DURATION] GROUP NAME [DEST] [&]",
			help:   "fetch a file from all who have it; DEST is a folder or a new file's name; & returns at once, while this client runs; " + timeouts,
			counts: []int{2, 3}, passwordAfter: -1, background: true, flags: timeout, run: downloadFile,
		},
		{
			name: "show_downloads", args: "[-v]",
			help:   "list downloads: D while downloading, C when complete; -v with percent, rate, peers and time left",
			counts: []int{0}, passwordAfter: -1, run: showDownloads,
			flags: func(set *flag.FlagSet, c *call) { set.BoolVar(&c.verbose, "v", false, "") },
		},
		plain("pause_download", "GROUP NAME", "stop a download until resume_download, also across restarts", []int{2}, pauseDownload),
		plain("resume_download", "GROUP NAME", "let a paused download go on", []int{2}, resumeDownload),
		plain("cancel_download", "GROUP NAME", "end a download and remove its partial data", []int{2}, cancelDownload),
		{
			name: "wait", args: "[--timeout DURATION] [GROUP NAME]", help: "wait until that download, or all, ended; " + timeouts,
			counts: []int{0, 2}, passwordAfter: -1, flags: timeout, run: wait,
		},
	}
}

const timeouts = "after DURATION (90s, 5m, 1h30m) it waits no longer, and the download goes on"

func otherCommands() []*command {
	return []*command{
		plain("trackers", "", "list the network's trackers and whether they answer", []int{0}, listTrackers),
		plain("help", "[COMMAND]", "tell what a command does, or list all", []int{0, 1}, help),
		plain("quit", "", "leave", []int{0}, quit),
		plain("exit", "", "leave", []int{0}, quit),
	}
}
