#!/bin/bash
# Encryption by stenc, and by the bytes that backup programs send.
. /job/lib.sh
with_tape >"$LOGS/stenc-setup.log" 2>&1 || { fail setup "$(tail -1 "$LOGS/stenc-setup.log")"; exit 1; }
command -v stenc >/dev/null || { skip stenc "the guest has no stenc"; exit 0; }
M() { mt -f "$TAPE" "$@"; }
S() { stenc -f "$TAPE" "$@"; }

K=$T/keys
mkdir -p "$K" "$T/plain" "$T/secret"
printf '%s\nfirst key\n' "$(stream 11 32 | xxd -p -c 64)" >"$K/one"
printf '%s\nsecond key\n' "$(stream 12 32 | xxd -p -c 64)" >"$K/two"
stream 13 300000 >"$T/plain/data"
stream 14 400000 >"$T/secret/data"
yes 'nobody else is to read this' | head -c 100000 >"$T/secret/text"

put() { tar -C "$T" -b 64 -cf "$TAPE" "$1"; }
same() { tar -C "$T" -b 64 -df "$TAPE"; }
refused() {     # reading here fails, and says so
    if dd if="$TAPE" of="$T/got" bs=32768 count=1; then bad "it could be read"; fi
    [ ! -s "$T/got" ] || bad "it gave $(wc -c <"$T/got") bytes"
}

# The detailed status wants a block to follow: stenc 1.0 crashes where there is none.
c_off() { S -e off; M rewind; put plain && M rewind && S --detail | tee "$T/detail"; grep -q 'Not encrypting' "$T/detail" && grep -q 'Not encrypted' "$T/detail"; }
check off 60 c_off
c_algorithm() { sg_raw -r 256 -o "$T/cap" "$TSG" a2 20 00 10 00 00 00 00 01 00 00 00 && expect algorithm 00010014 "$(xxd -p -s 40 -l 4 "$T/cap")"; }
check aes-256-gcm 30 c_algorithm
c_write() { M rewind; S -e on -k "$K/one" && put secret && M rewind && same; }
check write-and-read 120 c_write
c_detail() { M rewind; S --detail | tee "$T/detail"; grep -q 'first key' "$T/detail" && grep -q ' Encrypting' "$T/detail"; }
check key-descriptor 30 c_detail
c_no_key() { M rewind; S -e off; refused; expect_tell 0; }
check no-key-no-data 60 c_no_key
c_volume() { M rewind; S --detail | tee "$T/detail"; grep -qi 'unable to decrypt' "$T/detail" && grep -q 'first key' "$T/detail"; }
check the-volume-names-its-key 30 c_volume
c_move() { M rewind; M fsr 2 && expect_tell 2 && M fsf 1 && M bsf 1 && M rewind && expect_tell 0; }
check positioning-needs-no-key 60 c_move
c_wrong() { M rewind; S -e on -k "$K/two"; refused; expect_tell 0; }
check wrong-key 60 c_wrong
c_again() { M rewind; S -e on -k "$K/one" && same; }
check right-key-again 60 c_again
c_mixed() {
    S -e off; M rewind; put plain || return 1
    S -e mixed -k "$K/one" && put secret || return 1
    M rewind; same || return 1
    M fsf 1; same
}
check mixed-reads-both 120 c_mixed
c_plain_refused() { M rewind; S -e on -k "$K/one"; refused; expect_tell 0; M fsf 1; same; }
check decrypting-refuses-plain 60 c_plain_refused
c_raw() {
    M rewind; S -e on -k "$K/one" --unprotect && put secret || return 1
    S -e rawread -k "$K/one"; M rewind
    dd if="$TAPE" of="$T/raw" bs=64k count=1 || return 1
    if grep -q 'nobody else' "$T/raw" || [ "$(wc -c <"$T/raw")" -le 32768 ]; then bad "that is not the encrypted block"; fi
    S -e on -k "$K/one" --protect; M rewind; put secret || return 1
    S -e rawread -k "$K/one"; M rewind; refused
}
check raw-read 120 c_raw
c_ckod() {
    M rewind; S -e on -k "$K/one" --ckod && put secret || return 1
    M offline
    if [ -n "$CHG" ]; then mtx -f "$CHG" unload "$SLOT" "$DRIVE"; mtx -f "$CHG" load "$SLOT" "$DRIVE"; else M load; fi
    wait_ready "$TSG"; M rewind
    S --detail | tee "$T/detail"
    grep -q 'Not encrypting' "$T/detail" || bad "the key is still there"
    refused
}
check clear-key-on-demount 120 c_ckod
c_key_stays() {
    M rewind; S -e on -k "$K/one" && put secret || return 1
    M offline
    if [ -n "$CHG" ]; then mtx -f "$CHG" unload "$SLOT" "$DRIVE"; mtx -f "$CHG" load "$SLOT" "$DRIVE"; else M load; fi
    wait_ready "$TSG"; M rewind; same
}
check another-key-stays 120 c_key_stays
c_fixed() {
    M rewind; S -e on -k "$K/one"; M setblk 10240
    tar -C "$T" -b 20 -cf "$TAPE" secret && M rewind && tar -C "$T" -b 20 -df "$TAPE"
    local r=$?
    M rewind; M setblk 0; return $r
}
check fixed-blocks 60 c_fixed

# SECURITY PROTOCOL OUT as a backup server sends it: every nexus, ENCRYPT, MIXED; the status
# page must then say the same.
spout() { xxd -r -p >"$T/page"; sg_raw -s "$(wc -c <"$T/page")" -i "$T/page" "$TSG" b5 20 00 10 00 00 00 00 00 "$(printf %02x "$(wc -c <"$T/page")")" 00 00; }
modes() { sg_raw -r 8192 -o "$T/st" "$TSG" a2 20 00 20 00 00 00 00 20 00 00 00 && xxd -p -s 4 -l 3 "$T/st"; }
c_server() {
    echo "0010 0030 40 00 02 03 01 00 00 00000000000000 0020 $(stream 15 32 | xxd -p -c 64)" | spout || return 1
    expect modes 420203 "$(modes | tail -1)" || return 1
    M rewind; put secret && M rewind && same || return 1
    echo "0010 0010 40 00 00 00 01 00 00 00000000000000 0000" | spout || return 1
    expect modes 420000 "$(modes | tail -1)" || return 1
    M rewind; refused
}
check as-a-backup-server 90 c_server
# As a storage daemon does it: a U-KAD of the volume's name with the key.
c_daemon() {
    local name
    name=$(printf '%-30s' volume-0001 | xxd -p -c 64)
    echo "0010 0052 40 00 02 03 01 00 02 00000000000000 0020 $(stream 16 32 | xxd -p -c 64) 00 00 001e $name" | spout || return 1
    M rewind; put secret && M rewind || return 1
    sg_raw -r 8192 -o "$T/nb" "$TSG" a2 20 00 21 00 00 00 00 20 00 00 00 || return 1
    expect "encryption status" 5 "$(($((16#$(xxd -p -s 12 -l 1 "$T/nb"))) & 15))" || return 1
    grep -q volume-0001 "$T/nb" && same
}
check as-a-storage-daemon 90 c_daemon
c_end() { S -e off; M rewind; put plain && M rewind && same; }
check plain-again 60 c_end
[ -z "$CHG" ] || check home 60 changer_home
