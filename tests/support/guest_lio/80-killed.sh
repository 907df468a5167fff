#!/bin/bash
# All of it is killed, and a command removes what it has left in the kernel's target.
. /job/lib.sh
. /job/lio.sh

c_clean() {
    kill -9 "$(cat /run/serve.pid)"
    await_end || return 1
    ls -d $CONFIGFS/core/user_*/* $CONFIGFS/loopback/naa* || bad "nothing was left"
    tapectl device lio-clean || return 1
    [ -d $CONFIGFS/core/rd_mcp_7/foreign ] || bad "the foreign storage object is gone"
    ! ls -d $CONFIGFS/core/user_*/* $CONFIGFS/loopback/naa* 2>/dev/null
}
check lio-clean 120 c_clean
