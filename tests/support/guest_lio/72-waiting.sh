#!/bin/bash
# A command waits for data that only the store has, which is away: what never waits is answered
# meanwhile, what is aborted is no trouble, and a worker's death mixes nothing up.
. /job/lib.sh
. /job/lio.sh
with_tape "$COLD_TAPE" >"$LOGS/waiting-setup.log" 2>&1 || { fail setup "$(tail -1 "$LOGS/waiting-setup.log")"; exit 1; }
stream "$COLD_SEED" "$COLD_BYTES" >"$T/cold"

c_reads() {
    mv "$ROOT/store" "$ROOT/store.away"
    dd if="$TAPE" of="$T/read" bs=64k status=none &
    echo $! >/run/reader
    for _ in $(seq $((100 * SCALE))); do grep -q 'waiting: segment' "$LOGS/serve.log" && return 0; sleep 0.1; done
    die "the read does not wait"
}
reads_still() { kill -0 "$(cat /run/reader)" 2>/dev/null || bad "the read has ended"; }
c_inquiry() { sg_inq "$TSG" && sg_requests "$TSG" && reads_still; }
# It stands behind the read, and its initiator aborts it after 3 s, which ends once it is answered.
c_abort() {
    if sg_raw -t 3 "$TSG" 00 00 00 00 00 00; then bad "a command did not wait"; fi
    reads_still && grep 'task management 1 for 1 commands' "$LOGS/serve.log"
}
c_killed() { kill -9 $(workers) && sg_inq "$TSG" && reads_still; }
c_read() {
    mv "$ROOT/store.away" "$ROOT/store"
    for _ in $(seq $((300 * SCALE))); do kill -0 "$(cat /run/reader)" 2>/dev/null || break; sleep 0.1; done
    cmp "$T/cold" "$T/read"
}
# In this shell, which so is the parent of the reader.
c_reads >"$LOGS/waiting-reads.log" 2>&1 && pass waits || { fail waits "$(tail -1 "$LOGS/waiting-reads.log")"; exit 1; }
check inquiry-meanwhile 30 c_inquiry
check abort-meanwhile 60 c_abort
check killed-meanwhile 30 c_killed
check read-ends-right 60 c_read
