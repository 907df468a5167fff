#!/bin/bash
# A gateway in the guest, served by the guest's own kernel; the guest logs in to itself.
SUITE=attach
. /job/lib.sh
. /job/lio.sh
check unpack 60 unpack || exit 1
check foreign 20 make_foreign || exit 1
serve iscsi || { emit "FAIL attach/serve: $(tail -1 "$LOGS/serve.log")"; exit 1; }
pass serve
check iscsi 60 attach
# From here on it is the guest's initiator whose portal and transport the suites look at.
printf '%s\n' ATTACH=iscsi PORTAL=127.0.0.1:3260 >>/job/job.env
