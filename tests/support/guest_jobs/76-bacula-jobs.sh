#!/bin/bash
# Bacula as its users run it: a director with a catalogue, a storage daemon with the library, a file
# daemon. Barcodes are labelled, a backup that needs two cartridges, a verification, and a restore of
# cartridges that have been exported, archived and retrieved. Its packages are in /job/packages.
. /job/lib.sh
find_devices
drive_map >"$LOGS/bacula-jobs-setup.log" 2>&1 || { fail setup "$(tail -1 "$LOGS/bacula-jobs-setup.log")"; exit 1; }
read -r DRIVE TAPE TSG </run/drive.map
for package in /job/packages/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x -C / --keep-directory-symlink; done
ldconfig
W=$T/bacula-jobs SOURCE=/usr/lib/python3.11/asyncio RESTORED=$T/restored
CHANGER=/etc/bacula/scripts/mtx-changer
mkdir -p "$W" "$RESTORED" /var/lib/bacula /root
sqlite3 "$W/bacula.db" </usr/share/dbconfig-common/data/bacula-director-sqlite3/install/sqlite3
PLACE="WorkingDirectory = $W; PidDirectory = $W"
# Random bytes, so that a cartridge of the pool is full before the backup is done.
mkdir -p "$W/source"
cp -r "$SOURCE" "$W/source/"
for i in 1 2 3; do head -c 3000000 /dev/urandom >"$W/source/random-$i"; done
cat >"$W/sd.conf" <<CONF
Storage { Name = sd; $PLACE; SDAddress = 127.0.0.1; SDPort = 9103; }
Director { Name = dir; Password = "x"; }
Messages { Name = Standard; director = dir = all; }
Autochanger {
  Name = library; Device = drive; Changer Device = $CHG;
  Changer Command = "$CHANGER %c %o %S %a %d";
}
Device {
  Name = drive; Media Type = LTO; Archive Device = $TAPE; Autochanger = yes; Drive Index = $DRIVE;
  AutomaticMount = yes; AlwaysOpen = yes; RemovableMedia = yes; RandomAccess = no; Spool Directory = $W;
  Control Device = $TSG; Alert Command = "/etc/bacula/scripts/tapealert %l";
}
CONF
cat >"$W/fd.conf" <<CONF
FileDaemon { Name = fd; $PLACE; FDAddress = 127.0.0.1; FDPort = 9102; }
Director { Name = dir; Password = "x"; }
Messages { Name = Standard; director = dir = all; }
CONF
cat >"$W/dir.conf" <<CONF
Director { Name = dir; Password = "x"; Messages = Standard; QueryFile = /etc/bacula/scripts/query.sql; $PLACE; DirAddress = 127.0.0.1; DirPort = 9101; }
Catalog { Name = Catalog; dbname = "bacula"; dbuser = ""; dbpassword = ""; }
Client { Name = fd; Address = 127.0.0.1; FDPort = 9102; Catalog = Catalog; Password = "x"; }
Autochanger { Name = library; Address = 127.0.0.1; SDPort = 9103; Password = "x"; Device = library; Media Type = LTO; Autochanger = library; }
Pool { Name = Default; Pool Type = Backup; Maximum Volume Bytes = 6000000; }
FileSet { Name = Set; Include { Options { signature = SHA1; } File = $W/source; } }
Messages { Name = Standard; append = "$W/messages" = all; console = all; }
JobDefs { Name = Defaults; Client = fd; FileSet = Set; Storage = library; Pool = Default; Messages = Standard; }
Job { Name = Backup; JobDefs = Defaults; Type = Backup; Level = Full; Spool Attributes = yes; }
Job { Name = Verify; JobDefs = Defaults; Type = Verify; Level = VolumeToCatalog; Verify Job = Backup; }
Job { Name = Restore; JobDefs = Defaults; Type = Restore; Where = $RESTORED; }
CONF
cat >"$W/bconsole.conf" <<CONF
Director { Name = dir; DIRport = 9101; address = 127.0.0.1; Password = "x"; }
CONF
C() { printf '%s\n' "$@" quit | bconsole -c "$W/bconsole.conf" 2>&1 | tee "$W/said"; }
ended() { C "$1" wait messages >/dev/null; tail -60 "$W/messages"; grep -q "Termination: *$2" "$W/messages"; }
volumes() { sqlite3 "$W/bacula.db" "select VolumeName from Media where VolBytes > 1000000 order by MediaId"; }

c_start() {
    bacula-sd -c "$W/sd.conf" && bacula-fd -c "$W/fd.conf" && bacula-dir -c "$W/dir.conf" || return 1
    local n
    for n in $(seq 60); do C version && grep -q 'dir Version' "$W/said" && return 0; sleep 1; done
    return 1
}
c_label() {
    C 'label barcodes slots=1-3 pool=Default storage=library drive=0 encrypt=no' yes
    expect "labelled volumes" 3 "$(sqlite3 "$W/bacula.db" 'select count(*) from Media')"
}
c_backup() { ended 'run job=Backup yes' 'Backup OK' && expect "volumes" 2 "$(volumes | wc -l)"; }
c_verify() { ended 'run job=Verify yes' 'Verify OK'; }
c_export() {        # the way that the AWS guide has for Bacula
    C 'unmount storage=library drive=0'
    "$CHANGER" "$CHG" unload "$("$CHANGER" "$CHG" loaded 0 "$TAPE" "$DRIVE")" "$TAPE" "$DRIVE"
    local volume slot mail
    for volume in $(volumes); do
        slot=$(slot_of_tag "$volume" | cut -d' ' -f2)
        mail=$(slots mail empty | head -1)
        "$CHANGER" "$CHG" transfer "$slot" "$mail" || return 1
    done
    C 'update slots storage=library drive=0'
}
c_gone() {          # archived: the library has them no more
    local volume n
    for volume in $(volumes); do
        for n in $(seq 90); do [ -n "$(slot_of_tag "$volume")" ] || break; sleep 1; done
        [ -z "$(slot_of_tag "$volume")" ] || bad "$volume is still there"
    done
}
c_import() {        # retrieved: in a mail slot again
    local volume n
    for volume in $(volumes); do
        for n in $(seq 120); do [ -n "$(slot_of_tag "$volume")" ] && break; sleep 1; done
        [ -n "$(slot_of_tag "$volume")" ] || bad "$volume did not come back"
        expect "place of $volume" mail "$(slot_of_tag "$volume" | cut -d' ' -f1)" || return 1
        "$CHANGER" "$CHG" transfer "$(slot_of_tag "$volume" | cut -d' ' -f2)" "$(slots slot empty | head -1)" || return 1
    done
    C 'update slots storage=library drive=0' 'mount storage=library drive=0 slot=0'
}
c_restore() {
    ended 'restore client=fd fileset=Set select all done yes' 'Restore OK' || return 1
    diff -r "$W/source" "$RESTORED$W/source" || return 1
    tapeinfo -f "$TSG" | grep -q 'WriteProtect: yes' || bad "a retrieved tape may be written"
}
check start 120 c_start
check label 240 c_label
check backup 240 c_backup
check verify 240 c_verify
check export 120 c_export
check gone 120 c_gone
check import 180 c_import
check restore 240 c_restore
# The storage daemon keeps its drive's cartridge from being taken out while it lives.
C 'unmount storage=library drive=0' >/dev/null
for d in dir fd sd; do kill "$(cat "$W"/bacula-$d.*.pid)"; done
for n in $(seq 30); do pgrep '^bacula-' >/dev/null || break; sleep 1; done
cp "$W/messages" "$LOGS/bacula-messages.log"
