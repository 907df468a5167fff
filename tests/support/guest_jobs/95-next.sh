#!/bin/bash
# On to the next library: out of the one that the guest is logged in to, and in to that at the first port of
# JOB_ARGS which has not had its turn. One boot serves many libraries so.
. /job/lib.sh
read -r port others <<<"$JOB_ARGS"
printf 'PORTAL=%s\nJOB_ARGS=%q\n' "${PORTAL%:*}:$port" "$others" >>/job/job.env
rm -f /run/drive.map /run/tell

c_logout() {
    iscsiadm -m node -u || return 1
    local n
    for n in $(seq 40); do find_devices; [ $((${#TAPES[@]} + ${#CHANGERS[@]})) -gt 0 ] || return 0; sleep 0.25; done
    bad "devices of the last library are still there"
}
check logout 60 c_logout
check login 120 bash /job/attach-iscsi.sh
