#!/bin/bash
# A worker dies, the gateway is started anew: whoever uses the tape does not notice.
. /job/lib.sh
. /job/lio.sh
with_tape >"$LOGS/takeover-setup.log" 2>&1 || { fail setup "$(tail -1 "$LOGS/takeover-setup.log")"; exit 1; }
M() { mt -f "$TAPE" "$@"; }
BYTES=$((24 << 20)) BS=65536
mkdir -p "$T/in" "$T/back"
stream 11 $BYTES >"$T/in/data"

# kill_workers BLOCKS...: each time so many blocks are done, the worker is killed
kill_workers() {
    local at
    for at in "$@"; do
        while [ "$(blocks_done)" -lt "$at" ]; do sleep 0.02; done
        kill -9 $(workers)
        sleep 0.5
    done
}
# how many writes (or reads) st has had answers to
blocks_done() { cat "/sys/class/scsi_tape/${TAPE##*/}/stats/${1:-write}_cnt"; }

c_write() {
    local before killer
    M rewind && M setblk 0 || return 1
    before=$(blocks_done write)
    kill_workers $((before + 40)) ${JOB_ARGS:+$((before + 150)) $((before + 250))} &
    killer=$!
    tar -C "$T/in" -b 128 -cf "$TAPE" data || return 1
    kill -0 $killer 2>/dev/null && { kill $killer; die "the tar ended before the worker died"; return 1; }
    # 24 MiB, a header and the end, in records of 64 KiB, and the filemark: none is there twice
    expect_tell $((BYTES / BS + 1 + 1)) || return 1
    M rewind
    tar -C "$T/in" -b 128 -df "$TAPE"
}
c_read() {
    local before killer
    M rewind || return 1
    before=$(blocks_done read)
    (while [ "$(blocks_done read)" -lt $((before + 60)) ]; do sleep 0.02; done; kill -9 $(workers)) &
    killer=$!
    tar -C "$T/back" -b 128 -xf "$TAPE" || return 1
    kill -0 $killer 2>/dev/null && { kill $killer; die "the tar ended before the worker died"; return 1; }
    cmp "$T/in/data" "$T/back/data"
}
# The position, and what was set in the drive, are those from before.
c_state() {
    M rewind && M setblk 512 && M fsr 7 || return 1
    kill -9 $(workers)
    expect_tell 7 || return 1
    M status | tee "$T/status"
    grep -q 'block size 512 bytes' "$T/status" || return 1
    M setblk 0
}
c_upgrade() {
    M rewind && M setblk 0 || return 1
    (
        while [ "$(blocks_done)" -lt "$1" ]; do sleep 0.02; done
        tapectl gateway stop --keep-target && await_end && serve iscsi
    ) &
    local upgrade=$!
    tar -C "$T/in" -b 128 -cf "$TAPE" data || return 1
    wait $upgrade || return 1
    expect_tell $((BYTES / BS + 1 + 1)) || return 1
    M rewind
    tar -C "$T/in" -b 128 -df "$TAPE"
}
check kill-write 120 c_write
check kill-read 120 c_read
[ -z "$JOB_ARGS" ] || check kill-state 60 c_state
check upgrade 180 c_upgrade $(($(blocks_done) + 80))
