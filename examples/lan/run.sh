#!/usr/bin/env bash
# A network across hosts, on one machine: two trackers and four clients in
# network namespaces of their own, each with its own address, joined by a
# bridge. They share a file; one host is cut off and joined again; a tracker is
# killed. Prints what happens, and exits 0 if every copy is equal.
# Usage: run.sh BINARY. Needs root, iproute2 and sha1sum; without them it says so and exits 0.
set -euo pipefail

skip() { echo "skipped: $*"; exit 0; }

[ "$(uname -s)" = Linux ] || skip "network namespaces are a thing of Linux"
[ "$(id -u)" = 0 ] || skip "making network namespaces needs root"
command -v ip >/dev/null || skip "ip is missing: install iproute2"
bin=$(readlink -f "${1:?usage: run.sh BINARY}")
size_mib=${SIZE_MIB:-128}

dir=$(mktemp -d)
net="p2ps$$"
declare -A pid in out

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

cleanup() {
	status=$?
	for name in "${!pid[@]}"; do kill "${pid[$name]}" 2>/dev/null || true; done
	wait 2>/dev/null || true
	for ns in $(ip netns list 2>/dev/null | awk -v net="$net-" 'index($1, net) == 1 { print $1 }'); do ip netns del "$ns"; done
	[ $status = 0 ] || tail -n 5 "$dir"/*.err 2>/dev/null || true
	rm -rf "$dir"
	exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# The bridge lies in a namespace too, so that nothing of the machine's own
# network is touched.
ip netns add "$net-lan" 2>/dev/null || skip "this system does not let us make network namespaces"
on() { ns=$1; shift; ip netns exec "$net-$ns" "$@"; }
# become is the same for a process of its own, which takes the place of the subshell
# that it runs in: what is killed later is the program, not who started it.
become() { ns=$1; shift; exec ip netns exec "$net-$ns" "$@"; }
on lan ip link add bridge type bridge
on lan ip link set bridge up

hosts=(alpha beta ada bob carol dave)
declare -A addr
n=1
for h in "${hosts[@]}"; do
	addr[$h]="10.77.0.$n"
	ip netns add "$net-$h"
	ip link add "eth0" netns "$net-$h" type veth peer name "to-$h" netns "$net-lan"
	on "$h" ip addr add "${addr[$h]}/24" dev eth0
	on "$h" ip link set lo up
	on "$h" ip link set eth0 up
	on lan ip link set "to-$h" master bridge up
	n=$((n + 1))
done
for h in "${hosts[@]}"; do say "host $h has the address ${addr[$h]}"; done

# Each tracker host makes its key and prints its line; all lines go to everybody.
info=$dir/tracker_info.txt
for t in alpha beta; do on "$t" "$bin" tracker id --data "$dir/$t" "${addr[$t]}:5000" >>"$info"; done

tracker() { # name number flags...
	local name=$1 number=$2
	shift 2
	mkfifo "$dir/$name.in"
	become "$name" "$bin" tracker --data "$dir/$name" "$@" "$info" "$number" <"$dir/$name.in" >"$dir/$name.out" 2>"$dir/$name.err" &
	pid[$name]=$!
	exec {in[$name]}>"$dir/$name.in"
}
ready() {
	for _ in $(seq 300); do
		grep -q ready "$dir/$1.out" && { say "$(head -1 "$dir/$1.out")"; return; }
		kill -0 "${pid[$1]}" || { say "$1 ended"; return 1; }
		sleep 0.1
	done
	say "$1 is not ready"
	return 1
}
tracker alpha 1 --new-network
tracker beta 2
ready alpha
ready beta

client() { # name [list]: without a list it looks for the trackers
	local flags=()
	[ $# = 2 ] || flags=(--discover --accept-new-trackers)
	mkfifo "$dir/$1.in" "$dir/$1.out"
	mkdir "$dir/$1-files"
	become "$1" "$bin" client --json --data "$dir/$1" --downloads "$dir/$1-files" "${flags[@]}" "${addr[$1]}:6000" ${2:+"$2"} \
		<"$dir/$1.in" >"$dir/$1.out" 2>"$dir/$1.err" &
	pid[$1]=$!
	exec {in[$1]}>"$dir/$1.in" {out[$1]}<"$dir/$1.out"
}
ask() { # name command...: one command, its answer on standard output
	local name=$1 answer
	shift
	echo "$*" >&"${in[$name]}"
	reply "$name"
}
reply() {
	local answer
	read -r -t 120 answer <&"${out[$1]}" || { say "$1 does not answer"; return 1; }
	case $answer in *'"ok":true'*) printf '%s\n' "$answer" ;; *) say "$1: $answer" >&2; return 1 ;; esac
}

for c in ada bob carol dave; do
	if [ $c = dave ]; then
		client dave
	else
		client "$c" "$info"
	fi
	ask "$c" create_user "$c" "password-of-$c" >/dev/null
	ask "$c" login "$c" "password-of-$c" >/dev/null
done
grep -o 'found the tracker .*' "$dir/dave.err" | while read -r line; do say "dave, who has no list, $line"; done
say "four clients are logged in"
ask ada create_group lan >/dev/null
for c in bob carol dave; do
	ask "$c" join_group lan >/dev/null
	ask ada accept_request lan "$c" >/dev/null
done
head -c "${size_mib}M" /dev/urandom >"$dir/original.bin"
want=$(sha1sum "$dir/original.bin" | cut -d' ' -f1)
ask ada upload_file lan "$dir/original.bin" >/dev/null
say "ada shares $size_mib MiB, sha1 $want"

for c in bob carol dave; do ask "$c" "download_file lan original.bin &" >/dev/null; done
on lan ip link set to-dave down
say "dave is cut off; bob and carol go on"
for c in bob carol; do
	ask "$c" wait >/dev/null
	say "$c has the file"
done
kill -9 "${pid[alpha]}"
wait "${pid[alpha]}" 2>/dev/null || true
unset 'pid[alpha]'
[ -z "$(ip netns pids "$net-alpha")" ] || { say "tracker 1 is still there"; exit 1; }
say "tracker 1 on alpha is killed"
on lan ip link set to-dave up
say "dave is joined again"
echo wait >&"${in[dave]}"
ask bob create_group after-the-loss >/dev/null
say "bob made a group at the other tracker, without a password"
reply dave >/dev/null
say "dave has the file"

failed=0
for c in bob carol dave; do
	got=$(sha1sum "$dir/$c-files/original.bin" | cut -d' ' -f1)
	printf '%-6s %-11s sha1 %s' "$c" "${addr[$c]}" "$got"
	[ "$got" = "$want" ] && echo "  equal" || { echo "  DIFFERENT"; failed=1; }
done
exit $failed
