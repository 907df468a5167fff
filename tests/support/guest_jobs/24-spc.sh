#!/bin/bash
# What sg3-utils makes of reservations, mode pages that are saved, clocks, names, diagnostics and
# buffers, on a drive and on the changer.
. /job/lib.sh
find_devices
TSG=${SG[0]}
P() { sg_persist -n "$@"; }

c_register() {      # with everything that REGISTER has
    P -o -G --param-sark=0xabc123 --param-aptpl --param-alltgpt "$1" || return 1
    P -i -k "$1" | tee "$T/x"
    grep -qi 0xabc123 "$T/x"
}
c_reserve() {       # each type, and the holder's name
    local kind
    for kind in 1 3 5 6 7 8; do
        P -o -R --param-rk=0xabc123 --prout-type=$kind "$1" || return 1
        P -i -r "$1" | tee "$T/x"
        grep -qi 'scope: LU_SCOPE' "$T/x" || return 1
        P -i -s "$1" | tee "$T/x"
        grep -q "$(sed -n 's/^InitiatorName=//p' /etc/iscsi/initiatorname.iscsi)" "$T/x" || bad "the holder has another name"
        P -o -L --param-rk=0xabc123 --prout-type=$kind "$1" || return 1
    done
}
c_change() {
    P -o -G --param-rk=0xabc123 --param-sark=0xdef456 "$1" || return 1
    P -o -I --param-sark=0xabc123 "$1" || return 1
    P -o -R --param-rk=0xabc123 --prout-type=5 "$1" || return 1
    P -o -P --param-rk=0xabc123 --param-sark=0xabc123 --prout-type=6 "$1" || return 1
    P -o -A --param-rk=0xabc123 --param-sark=0xabc123 --prout-type=5 "$1" || return 1
    P -i -r "$1" | grep -qi 'registrants only'
}
c_wrong() {
    if P -o -R --param-rk=0x1 --prout-type=5 "$1" 2>"$T/x"; then bad "a wrong key was taken"; fi
    cat "$T/x"
    grep -qi 'conflict' "$T/x"
}
c_clear() {
    P -o -C --param-rk=0xabc123 "$1" || return 1
    P -i -k "$1" | tee "$T/x"
    grep -qi 'NO registered' "$T/x"
}
c_capabilities() {
    P -i -c "$1" | tee "$T/x"
    local word
    for word in CRH SIP_C ATP_C PTPL_C TMV; do
        grep -q "($word): 1" "$T/x" || bad "$word is not set"
    done
}
c_saved() {         # the method of page 1Ch, and back
    sg_modes -p 0x1c -r "$1" >"$T/before" || return 1
    sg_wr_mode -p 0x1c -s -c 1c,0a,00,04,00,00,00,00,00,00,00,00 "$1" || return 1
    sg_modes -p 0x1c -c 0 -r "$1" | xxd -p | tee "$T/now"
    sg_modes -p 0x1c -c 3 -r "$1" | xxd -p | tee "$T/saved"
    grep -q '9c0a0004' "$T/now" && grep -q '9c0a0004' "$T/saved" || return 1
    sg_wr_mode -p 0x1c -s -c 1c,0a,08,00,00,00,00,00,00,00,00,00 "$1" || return 1
    sg_modes -p 0x1c -r "$1" | cmp - "$T/before"
}
c_unsaved() {
    if sg_modes -p 0x0a -c 3 "$1" >"$T/x" 2>&1; then bad "saved values of a page that is not saved"; fi
    cat "$T/x"
}
c_timestamp() {
    sg_timestamp --origin "$1" | tee "$T/x"
    [ -s "$T/x" ] || return 1
    sg_timestamp --milliseconds=1000000 "$1" || return 1
    sg_timestamp --origin --no-timestamp "$1" | tee "$T/x"
    grep -qi 'SET TIMESTAMP' "$T/x"
}
c_name() {
    printf 'third rack' >"$T/name"
    sg_ident --set "$1" <"$T/name" || return 1
    sg_ident --ascii "$1" | tee "$T/x"
    grep -q 'third rack' "$T/x" || return 1
    sg_ident --clear "$1"
}
c_ports() {
    sg_rtpg -d "$1" | tee "$T/x"
    grep -qi 'active/optimized' "$T/x" || return 1
    sg_rtpg -e "$1"
}
c_diagnostics() {
    sg_senddiag -t "$1" || return 1
    sg_senddiag -l "$1" | tee "$T/x"
    grep -qi 'supported diagnostic pages' "$T/x" || return 1
    sg_raw -s 8 -i /dev/stdin "$1" 1d 10 00 00 08 00 < <(printf '\x80\x00\x00\x04\x01\x60\x00\x00')
}
c_buffers() {       # sg_read_buffer of this release prints nothing, so the reads are raw
    sg_raw -r 4 -o "$T/desc" "$1" 3c 03 00 00 00 00 00 00 04 00 || return 1
    expect "the buffer's descriptor" 00010000 "$(xxd -p "$T/desc")" || return 1
    sg_raw -r 4 -o "$T/desc" "$1" 3c 0b 00 00 00 00 00 00 04 00 || return 1
    expect "the echo buffer's descriptor" 01001000 "$(xxd -p "$T/desc")" || return 1
    sg_read_buffer -vvv --mode=desc --id=1 "$1" || return 1
    head -c 512 /dev/urandom >"$T/out"
    sg_write_buffer --mode=data --in="$T/out" --length=512 "$1" || return 1
    sg_raw -r 512 -o "$T/back" "$1" 3c 02 00 00 00 00 00 02 00 00 || return 1
    cmp "$T/out" "$T/back" || return 1
    if sg_write_buffer --mode=dmc_save --in="$T/out" --length=512 "$1" 2>/dev/null; then bad "microcode was taken"; fi
}
c_opcodes() {
    sg_opcodes --rctd "$1" >"$T/x" || return 1
    grep -qi 'timeout' "$T/x" || bad "no timeouts"
    sg_opcodes --opcode=0x5e,3 --mask "$1" || return 1
    sg_opcodes --tmf --repd "$1"
}
c_logs() {
    sg_logs -a -c 0 "$1" >/dev/null || return 1
    sg_logs --reset --select "$1"
}

for which in drive changer; do
    if [ $which = drive ]; then DEV=$TSG; else DEV=$CHG; fi
    check $which-register 30 c_register "$DEV"
    check $which-capabilities 30 c_capabilities "$DEV"
    check $which-reserve 60 c_reserve "$DEV"
    check $which-change-and-preempt 30 c_change "$DEV"
    check $which-wrong-key 30 c_wrong "$DEV"
    check $which-clear 30 c_clear "$DEV"
    check $which-saved-pages 30 c_saved "$DEV"
    check $which-unsaved-pages 30 c_unsaved "$DEV"
    check $which-timestamp 30 c_timestamp "$DEV"
    check $which-name 30 c_name "$DEV"
    check $which-ports 30 c_ports "$DEV"
    check $which-diagnostics 30 c_diagnostics "$DEV"
    check $which-buffers 30 c_buffers "$DEV"
    check $which-opcodes 30 c_opcodes "$DEV"
    check $which-logs 30 c_logs "$DEV"
done
