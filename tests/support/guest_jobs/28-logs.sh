#!/bin/bash
# What sg3-utils and tapeinfo make of log pages, statistics and TapeAlert flags. The store cannot be
# used while this runs.
. /job/lib.sh
find_devices
TSG=${SG[0]} TST=${NST[0]}
page() { sg_logs -p "$1" "$TSG" | tee "$T/lg"; }
value() { sed -n "s/^ *$1[:=]* *\([0-9]*\).*/\1/p" "$T/lg" | head -1; }

c_write() { dd if=/dev/urandom of="$TST" bs=64k count=160 && mt -f "$TST" rewind; }
c_read() { dd if="$TST" of=/dev/null bs=64k count=80; }
c_all() {
    sg_logs -a "$TSG" | tee "$T/lg" || return 1
    local name
    for name in 'Write error' 'Read error' 'Sequential access' 'Temperature' 'Self-test' 'DT device status' \
        'TapeAlert response' 'Requested recovery' 'Device statistics' 'Tape diagnostic' 'Volume statistics' \
        'Data compression' 'Tape alert' 'Tape usage' 'Tape capacity'; do
        grep -qi "^$name.* page" "$T/lg" || bad "no page: $name"
    done
}
c_bytes() {
    page 0x02 && [ "$(value 'Total bytes processed =')" = $((160 * 65536)) ] || bad "written: $(value 'Total bytes processed =')"
    page 0x03 && [ "$(value 'Total bytes processed =')" = $((80 * 65536)) ] || bad "read: $(value 'Total bytes processed =')"
}
c_volume() {
    page 0x17
    [ "$(value 'Page valid')" = 1 ] && [ "$(value 'Thread count')" = 1 ] || bad "not of a first load"
    [ "$(value 'Lifetime megabytes written')" = 10 ] && [ "$(value 'Lifetime megabytes read')" = 5 ] || bad "megabytes"
    grep -q 'Volume personality: Ultrium-5' "$T/lg"
}
c_device() { page 0x14 && [ "$(value 'Lifetime media loads')" = 1 ] && [ "$(value 'Lifetime power cycles')" = 1 ]; }
c_performance() { sg_logs -p 0x37,0x64 "$TSG" | tee "$T/lg" && grep -q '71 13 40 04' "$T/lg"; }
c_tapeinfo() {
    tapeinfo -f "$TSG" | tee "$T/lg"
    local size left
    size=$(value 'Partition 0 Size in Kbytes:') left=$(value 'Partition 0 Remaining Kbytes:')
    [ "$size" = 102400 ] && [ "$left" = $((size - 10)) ] || bad "$left of $size"
}
c_attributes() { sg_read_attr "$TSG" | tee "$T/lg" && [ "$(value 'Total MiB written in current\/last load')" = 10 ]; }
c_reset() { sg_logs -R "$TSG" && page 0x02 && [ "$(value 'Total bytes processed =')" = 0 ] && page 0x17 && [ "$(value 'Lifetime megabytes written')" = 10 ]; }
c_outage() {        # page 12h clears nothing, page 2Eh what it tells
    local n
    for n in $(seq 60); do page 0x12 | grep -q '27h: 1' && break; sleep 1; done
    page 0x12 | grep -q '27h: 1' || bad "the outage is not told"
    tapeinfo -f "$TSG" | tee "$T/lg"
    grep -q 'TapeAlert\[39\]' "$T/lg" || bad "tapeinfo is not told"
    if tapeinfo -f "$TSG" | grep 'TapeAlert\['; then bad "a flag is told twice"; fi
}
c_outage_changer() { sg_logs -p 0x2e -r "$CHG" | xxd -p | tr -d '\n' | tee "$T/lg" && grep -q '0005430101' "$T/lg"; }
c_prevented() {
    sg_prevent --prevent=1 "$TSG" || return 1
    sg_start --eject "$TSG"
    sg_prevent --allow "$TSG"
    page 0x2e && [ "$(value 'No removal')" = 1 ]
}

check write 120 c_write
check outage 120 c_outage
check outage-changer 30 c_outage_changer
check read 60 c_read
check all 60 c_all
check bytes 30 c_bytes
check volume 30 c_volume
check device 30 c_device
check performance 30 c_performance
check tapeinfo 30 c_tapeinfo
check attributes 30 c_attributes
check prevented 30 c_prevented
check reset 30 c_reset
