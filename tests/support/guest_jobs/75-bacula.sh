#!/bin/bash
# btape, with which Bacula's users qualify a drive: test, autochanger test, and fill (FILL_BARCODE).
. /job/lib.sh
with_tape >"$LOGS/bacula-setup.log" 2>&1 || { fail setup "$(tail -1 "$LOGS/bacula-setup.log")"; exit 1; }
command -v btape >/dev/null || { skip bacula "the guest has no btape"; exit 0; }
W=$T/bacula
mkdir -p "$W" /var/lib/bacula
cat >"$W/sd.conf" <<CONF
Storage { Name = sd; WorkingDirectory = $W; PidDirectory = $W; SDAddress = 127.0.0.1; }
Director { Name = dir; Password = "x"; }
Messages { Name = Standard; stdout = all; }
Autochanger {
  Name = library; Device = drive; Changer Device = $CHG;
  Changer Command = "/etc/bacula/scripts/mtx-changer %c %o %S %a %d";
}
Device {
  Name = drive; Media Type = LTO; Archive Device = $TAPE; Autochanger = yes; Drive Index = $DRIVE;
  AutomaticMount = yes; AlwaysOpen = yes; RemovableMedia = yes; RandomAccess = no;
  Maximum File Size = 64MB; Spool Directory = $W; Maximum Block Size = 10240;
}
CONF
# The fill test is about one cartridge: without a changer it stays at that. Blocks as Bacula likes.
sed '/^Autochanger/,/^}/d; s/Maximum Block Size = [0-9]*;//; /Autochanger = yes/s/Autochanger = yes; Drive Index = [0-9]*;//; /Changer Device/d; s/^  Changer.*//' "$W/sd.conf" >"$W/one.conf"
B() { btape -c "$W/sd.conf" "$TAPE" 2>&1 | tee "$W/said"; }
# Empty lines and a y answer what it asks; the words are those of a test that found all as it should be.
c_test() {
    { echo test; for i in $(seq 1 20); do echo y; done; echo quit; } | B
    expect "tests that succeeded" 2 "$(grep -c '=== Test Succeeded' "$W/said")" || return 1
    grep -q 'Block re-read correct. Test succeeded!' "$W/said" || bad "backspacing over the last block"
    expect "places that are right" 6 "$(grep -c 'This is correct!' "$W/said")" || return 1
    grep -q 'The test autochanger worked!!' "$W/said"
}
check test 400 c_test
c_capabilities() { { echo cap; echo quit; } | B; grep -q 'Configured device capabilities' "$W/said"; }
check capabilities 60 c_capabilities
c_fill() {
    [ -n "$FILL_BARCODE" ] || na "no FILL_BARCODE"
    with_tape "$FILL_BARCODE" || return 1
    { echo fill; echo s; echo; echo y; echo y; echo quit; } | btape -c "$W/one.conf" "$TAPE" 2>&1 | tee "$W/said"
    grep -q 'The last block on the tape matches. Test succeeded' "$W/said" || grep -qi 'test succeeded' "$W/said"
}
check fill 1200 c_fill
check home 60 changer_home
