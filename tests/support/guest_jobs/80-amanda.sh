#!/bin/bash
# Amanda as its users run it: its changer on the library, a dump that goes on with a second cartridge
# when a small one's early warning comes (device property LEOM), a check of it, and a restore. Its
# client's package is in /job/packages.
. /job/lib.sh
find_devices
changer_home >"$LOGS/amanda-setup.log" 2>&1 || { fail setup "$(tail -1 "$LOGS/amanda-setup.log")"; exit 1; }
drive_map >>"$LOGS/amanda-setup.log" 2>&1 || { fail setup "$(tail -1 "$LOGS/amanda-setup.log")"; exit 1; }
changer_home >>"$LOGS/amanda-setup.log" 2>&1
read -r DRIVE TAPE TSG </run/drive.map
for package in /job/packages/amanda*.deb /job/packages/libxml*.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x -C / --keep-directory-symlink; done
W=$T/amanda C=/etc/amanda/jobs V=/var/lib/amanda/jobs
mkdir -p "$W/source" "$W/restored" "$C" "$V" /var/log/amanda /tmp/amanda
cp -r /usr/lib/python3.11/asyncio "$W/source/"
for i in 1 2 3; do head -c 3000000 /dev/urandom >"$W/source/random-$i"; done
chmod 755 "$T"
cat >"$C/amanda.conf" <<CONF
org "jobs"
mailto ""
dumpuser "backup"
tapetype LTO
define tapetype LTO {
  length 100 mbytes
  filemark 0 kbytes
  blocksize 256 kbytes
  part-size 2 mbytes
}
define changer library {
  tpchanger "chg-robot:$CHG"
  changerfile "$V/changer"
  property "tape-device" "$DRIVE=tape:$TAPE"
  property "use-slots" "4-6"
  device-property "LEOM" "true"
}
tpchanger "library"
runtapes 3
tapecycle 3
autolabel "JOBS-%" any
labelstr "^JOBS-[0-9]+\$"
infofile "$V/info"
logdir "$V/log"
indexdir "$V/index"
tapelist "$V/tapelist"
define dumptype local {
  program "GNUTAR"
  auth "local"
  compress none
  holdingdisk never
  index no
}
CONF
echo "localhost $W/source local" >"$C/disklist"
touch "$V/tapelist"
mkdir -p "$V/log"
chown -R backup:backup "$C" "$V" /var/log/amanda /tmp/amanda "$W/restored"
chmod 666 "$CHG" "$TAPE" "$TSG"
A() { su -s /bin/bash backup -c "cd $V && PATH=/usr/sbin:/usr/bin:/sbin:/bin $*" 2>&1 | tee "$W/said"; }

c_inventory() { A amtape jobs inventory && expect "slots" 3 "$(grep -c '^slot [456]:' "$W/said")"; }
c_properties() { A amdevcheck --properties LEOM,BLOCK_SIZE jobs "tape:$TAPE" && grep -q 'LEOM=' "$W/said"; }
c_dump() {
    A amdump jobs
    local rc=$?
    A amreport jobs
    expect "exit of amdump" 0 $rc && expect "cartridges used" 2 "$(grep -c JOBS "$V/tapelist")"
}
c_validated() { A amcheckdump jobs && grep -q 'successfully validated' "$W/said"; }
c_restore() {
    A "amfetchdump -p -a jobs localhost 2>$V/errors | tar -x -C $W/restored -f -" || { cat "$V/errors"; return 1; }
    diff -r "$W/source" "$W/restored"
}
check inventory 120 c_inventory
check dump 300 c_dump
check validated 240 c_validated
check restore 240 c_restore
check properties 60 c_properties
check home 60 changer_home
mkdir -p "$LOGS/amanda"
cp -r "$V/log" /var/log/amanda "$LOGS/amanda/"
