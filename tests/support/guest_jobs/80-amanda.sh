#!/bin/bash
# Amanda's view of a drive: amlabel writes a label, amdevcheck reads it.
. /job/lib.sh
with_tape "$SMALL_BARCODE" >"$LOGS/amanda-setup.log" 2>&1 || { fail setup "$(tail -1 "$LOGS/amanda-setup.log")"; exit 1; }
command -v amtapetype >/dev/null || { skip amanda "the guest has no amtapetype"; exit 0; }
M() { mt -f "$TAPE" "$@"; }
C=/etc/amanda/test
mkdir -p "$C" /var/lib/amanda/test "$T/amanda"
cat >"$C/amanda.conf" <<CONF
org "test"
mailto ""
dumpuser "root"
tapetype LTO
define tapetype LTO {
  length 100 mbytes
  filemark 0 kbytes
  speed 10000 kps
  blocksize 256 kbytes
}
tapedev "tape:$TAPE"
labelstr "^TEST-[0-9]+\$"
infofile "/var/lib/amanda/test/info"
logdir "/var/lib/amanda/test"
indexdir "/var/lib/amanda/test/index"
tapelist "/var/lib/amanda/test/tapelist"
CONF
touch /var/lib/amanda/test/tapelist
c_label() { M rewind; amlabel test TEST-1 && amlabel -f test TEST-1; }
check label 120 c_label
c_check() { amdevcheck test "tape:$TAPE" | tee "$T/x"; grep -q SUCCESS "$T/x"; }
check device-check 60 c_check
# Not amtapetype: it writes for a minute, more than a small cartridge holds, to find out whether a
# drive compresses.
c_properties() { amdevcheck --properties LEOM,BLOCK_SIZE test "tape:$TAPE" | tee "$T/x"; grep -q 'LEOM=' "$T/x"; }
check properties 60 c_properties
check home 60 changer_home
