#!/bin/bash
# The end of a small cartridge (SMALL_BARCODE), as st and tar meet it.
. /job/lib.sh
[ -n "$SMALL_BARCODE" ] || { skip eom "no SMALL_BARCODE"; exit 0; }
with_tape "$SMALL_BARCODE" >"$LOGS/eom-setup.log" 2>&1 || { fail setup "$(tail -1 "$LOGS/eom-setup.log")"; exit 1; }
M() { mt -f "$TAPE" "$@"; }

# st hands on early warning by refusing the next write once; then it goes on up to the end.
cat >"$T/fill.py" <<'PY'
import errno, os, random, sys
path, size, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
tape = os.open(path, os.O_WRONLY)
generator = random.Random(7)
written = warned = 0
block = generator.randbytes(size)
while written < limit:
    try:
        count = os.write(tape, block)
        assert count == size, count
        written += 1
        block = generator.randbytes(size)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        if warned:
            break
        warned = written
print(f"warned after {warned}, full after {written}")
os.close(tape)
PY
cat >"$T/check.py" <<'PY'
import os, random, sys
path, size, least = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
tape = os.open(path, os.O_RDONLY)
generator = random.Random(7)
read = 0
while block := os.read(tape, size):
    assert block == generator.randbytes(size), f"block {read}"
    read += 1
print(f"{read} blocks")
assert read >= least, (read, least)
PY
c_fill() { M rewind; python3 "$T/fill.py" "$TAPE" 262144 100000 | tee "$T/full"; grep -q 'warned after [1-9]' "$T/full"; }
check fill 300 c_fill
full() { sed -n 's/.*full after //p' "$T/full"; }
c_all_there() { M rewind && python3 "$T/check.py" "$TAPE" 262144 "$(full)"; }
check every-block-is-there 300 c_all_there
c_data_end() { M eod && expect_tell $(($(full) + 1)); }
check filemark-fits-after-the-end 60 c_data_end
c_warned_again() {
    M rewind && M fsr $(($(full) - 1)) || return 1
    if head -c 262144 /dev/zero | dd of="$TAPE" bs=256k status=none 2>"$T/dd.err"; then bad "no early warning"; fi
    grep -q 'No space left' "$T/dd.err"
}
check early-warning-comes-again 120 c_warned_again
c_multivolume() {
    M rewind
    stream 5 8000000 >"$T/big"
    tar -C "$T" -b 64 -L 4000 -M --rmt-command=/bin/false -F "mt -f $TAPE rewind" -cf "$TAPE" big
}
check tar-asks-for-the-next-volume 120 c_multivolume
check erase-makes-it-empty 120 eval 'M rewind && M erase && M rewind && M eod && expect_tell 0'
check home 60 changer_home
