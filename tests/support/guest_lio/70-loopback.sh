#!/bin/bash
# The gateway ends, and nothing of it is left in the kernel's target; then it serves this host alone.
. /job/lib.sh
. /job/lio.sh

c_logout() { timeout $((60 * SCALE)) iscsiadm -m node -u; }
c_clean() {
    kill -TERM "$(cat /run/serve.pid)"
    await_end || return 1
    [ -d $CONFIGFS/core/rd_mcp_7/foreign ] || bad "the foreign storage object is gone"
    ! ls -d $CONFIGFS/core/user_*/* $CONFIGFS/iscsi/iqn* 2>/dev/null
}
c_serve() { serve loopback && wait_devices; }
check logout 60 c_logout
check clean 60 c_clean
check serve 60 c_serve
rm -f /run/drive.map /run/tell
echo ATTACH=loopback >>/job/job.env
