#!/bin/bash
# Lists of initiators and CHAP, kept by the kernel's target from our state.
. /job/lib.sh
. /job/lio.sh
NAME=$(sed -n 's/^InitiatorName=//p' /etc/iscsi/initiatorname.iscsi)
DRIVE=$(awk '/tapedrive-01/ { print $2 }' "$OUT/discovery.txt")
node() { timeout $((30 * SCALE)) iscsiadm -m node -T "$DRIVE" -p 127.0.0.1:3260 "$@"; }
auth() { node -o update -n "node.session.auth.$1" -v "$2"; }
out() { for _ in $(seq 50); do node -u; iscsiadm -m session 2>/dev/null | grep -q "$DRIVE" || return 0; sleep 0.2; done; return 1; }

c_other() {
    tapectl device allow tapedrive-01 iqn.2000-01.com.example:other || return 1
    out || bad "the session stays"
    if node --login; then bad "let in without being listed"; fi
}
c_listed() {
    tapectl device allow tapedrive-01 "$NAME" && node --login || return 1
    [ -z "$JOB_ARGS" ] || tapectl status --output json | grep -q "$NAME" || bad "status does not name it"
    out
}
c_chap() {
    printf of-twelve-bytes >/tmp/secret
    tapectl chap set tapedrive-01 "$NAME" --secret-file /tmp/secret || return 1
    if node --login; then bad "let in without a secret"; fi
    auth authmethod CHAP && auth username "$NAME" && auth password wrong-wrong-w || return 1
    if node --login; then bad "let in with a wrong secret"; fi
    auth password of-twelve-bytes && node --login
}
check others-are-kept-out 90 c_other
check listed-is-let-in 90 c_listed
check chap 120 c_chap
