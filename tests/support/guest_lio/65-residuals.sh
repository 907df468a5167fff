#!/bin/bash
# Reads of another length than the block's: the right count, and the right bytes.
. /job/lib.sh
. /job/lio.sh
with_tape >"$LOGS/residuals-setup.log" 2>&1 || { fail setup "$(tail -1 "$LOGS/residuals-setup.log")"; exit 1; }
M() { mt -f "$TAPE" "$@"; }
stream 5 40000 >"$T/blocks"
M setblk 0 && M rewind && dd if="$T/blocks" of="$TAPE" bs=10000 status=none && M rewind

# Where nothing is returned the kernel can be told no length: INFORMATION has it, and the residual is 0.
# r NAME LENGTH FLAGS STATUS RESIDUAL INFORMATION OFFSET COUNT
r() { check "$1" 30 python3 /job/read_block.py "$TSG" "$T/blocks" "${@:2}"; }
r longer 20000 0 2 10000 10000 0 10000
r longer-sili 32768 2 0 22768 0 10000 10000
r shorter 4000 0 2 0 -6000 20000 4000
r exact 10000 0 0 0 0 30000 10000
r filemark 10000 0 2 0 10000 0 0
M rewind && M setblk 2500
r fixed-of-longer-blocks 2 1 2 0 2 0 0
M setblk 0 && M rewind && M setblk 10000
r fixed-up-to-filemark 6 1 2 20000 2 0 40000
M setblk 0
