#!/bin/bash
# What sg3-utils, sdparm, mt and mtx make of LTO-9 drives by HPE, of media of another generation, and of a
# cleaning cartridge.
. /job/lib.sh
find_devices
DRIVE=0 TSG=${SG[0]} TAPE=${NST[0]}
V() { sg_vpd -p "$1" "${2:-$TSG}"; }
# SLOT of a volume tag; load and unload it.
slot() { slot_of_tag "$1" | sed -n 's/^slot //p'; }
load() { mtx -f "$CHG" load "$(slot "$1")" $DRIVE; }
home() { changer_home; }
# The last sense of TEST UNIT READY, unit attentions taken first.
unready() {
    sg_turs "$TSG" >/dev/null 2>&1
    sg_turs "$TSG" >/dev/null 2>&1
    if sg_turs -v "$TSG" >"$T/tur" 2>&1; then bad "it is ready"; fi
    cat "$T/tur"
    grep -qi "$1" "$T/tur"
}

c_inquiry() { sg_inq "$TSG" | tee "$T/x"; grep -q 'HPE' "$T/x" && grep -q 'Ultrium 9-SCSI' "$T/x" && grep -q 'PROTECT=1\|Protect=1' "$T/x"; }
check inquiry 20 c_inquiry
c_extended() { V ei | tee "$T/x"; grep -q 'GRD_CHK=1' "$T/x" && grep -q 'SIMPSUP=1' "$T/x"; }
check extended-inquiry 20 c_extended
c_ports() { V sp | tee "$T/x"; grep -q 'elative port=1' "$T/x" && grep -q 'SCSI name string' "$T/x"; }
check scsi-ports 20 c_ports
c_group() { V di | tee "$T/x"; grep -qi 'target port group: 0x1' "$T/x" && grep -qi 'relative target port: 0x1' "$T/x"; }
check target-port-group 20 c_group
check protocol-information 20 V pslu
check mode-page-policy 20 V mpp
check management-addresses 20 V mna
check sequential-capabilities 20 eval 'V 0xb0 | tee $T/x; grep -q "WORM=1" $T/x'
c_where() {     # the changer's serial number, and the element that the drive is
    local serial
    serial=$(V sn "$CHG" | sed -n 's/.*Unit serial number: *//p')
    [ -n "$serial" ] || bad "the changer has no serial number"
    V 0xb3 | tee "$T/x"
    sg_vpd -p 0xb3 -r "$TSG" | tail -c +5 | grep -qx "$serial" || bad "the drive is in another library"
    expect "element address" 2710 "$(sg_vpd -p 0xb4 -r "$TSG" | xxd -p -s 4)"
}
check where-the-drive-is 20 c_where
c_protection() { V 0xb5 | tee "$T/x"; expect methods 2 "$(grep -c 'method: [12], info_len: 4, LBP_W_C=1, LBP_R_C=1' "$T/x")" && expect lines 2 "$(grep -c method "$T/x")"; }
check protection-methods 20 c_protection
check firmware-page 20 eval 'sg_vpd -p 0xc0 -r "$TSG" | grep -qa Firmware'
check changer-pages 20 eval 'for p in ei mpp sp pslu mna; do V $p "$CHG" || exit 1; done'

load DATA09L9 && wait_ready "$TSG"
check density-of-the-medium 20 eval 'mt -f "$TAPE" status | tee $T/x; grep -qi "0x60" $T/x'
check write 30 eval 'echo text | dd of="$TAPE" && mt -f "$TAPE" rewind && dd if="$TAPE" | grep -qx text'
check medium-type 20 eval 'sg_modes -p 0x0f "$TSG" | tee $T/x; grep -qi "medium type=0x00" $T/x'
check memory-of-the-medium 20 eval 'sg_read_attr "$TSG" | tee $T/x; grep -qi "LTO-CVE" $T/x && grep -qi "manufacture date: $(date +%Y)" $T/x'
# sdparm ends with 5, for no values are saved.
c_sdparm() {
    sdparm --set=DCE=0 "$TSG"; sdparm --get=DCE "$TSG" | tee "$T/x"; grep -q 'DCE  *0  *\[cha: y, def:  1\]' "$T/x" || return 1
    sdparm --set=DCE=1 "$TSG"; sdparm --get=DCE "$TSG" | tee "$T/x"; grep -q 'DCE  *1 ' "$T/x"
}
check sdparm 30 c_sdparm
c_scsitape() {  # mtx's own driver of tapes, past st
    head -c 20000 /dev/urandom >"$T/out"
    scsitape -f "$TSG" rewind && scsitape -f "$TSG" write <"$T/out" && scsitape -f "$TSG" mark 1 || return 1
    scsitape -f "$TSG" rewind && scsitape -f "$TSG" read >"$T/in" && cmp "$T/out" "$T/in"
}
check scsitape 30 c_scsitape
c_loaderinfo() {
    loaderinfo -f "$CHG" | tee "$T/x"
    grep -q 'Number of Data Transfer Elements: 1' "$T/x" && grep -q 'Transfer Data Transfer: ->Data Transfer, ->Import/Export, ->Storage' "$T/x"
}
check loaderinfo 30 c_loaderinfo
check home-again 60 home
load DATA05L5
check older-medium-is-refused 30 unready 'incompatible format'
check older-medium-cannot-be-read 30 eval 'if dd if="$TAPE" of=/dev/null bs=1k count=1; then bad "it was read"; fi'
check older-medium-comes-back 60 home
load CLNU01L1
check cleaning 30 unready 'cleaning cartridge installed'
check cleaning-comes-back 60 home
load DATA09L9
check ready-after-cleaning 60 wait_ready "$TSG"
check home 60 changer_home
