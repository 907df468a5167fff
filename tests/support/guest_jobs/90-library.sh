#!/bin/bash
# The whole library behind one target: one session, LUN 0 the changer, LUN 1.. the drives.
. /job/lib.sh
iqn=$(awk '{print $2}' "$OUT/discovery.txt" | grep -e '-library$')

c_login() {
    [ -n "$iqn" ] || bad "discovery names no such target"
    iscsiadm -m node -u
    iscsiadm -m node -T "$iqn" -p "$PORTAL" -o new && iscsiadm -m node -T "$iqn" -p "$PORTAL" -l || return 1
    local n=0
    until find_devices; [ ${#TAPES[@]} = "$EXPECT_DRIVES" ] && [ -c "${NST[-1]}" ] || [ $n -gt 40 ]; do
        sleep 0.25
        n=$((n + 1))
    done
    iscsiadm -m session
    lsscsi -g
    expect sessions 1 "$(iscsiadm -m session | wc -l)"
}
check login 60 c_login
find_devices
rm -f /run/drive.map

c_luns() {
    local nexus=${TAPES[0]%:*} n
    expect drives "$EXPECT_DRIVES" ${#TAPES[@]} && expect changers 1 ${#CHANGERS[@]} || return 1
    for n in $(seq "$EXPECT_DRIVES"); do
        expect "LUN $n" "$nexus:$n" "${TAPES[$((n - 1))]}" || return 1
        [ -c "${NST[$((n - 1))]}" ] || bad "LUN $n has no st device" || return 1
    done
    [ -e "/sys/class/scsi_device/$nexus:0/device/scsi_generic/${CHG##*/}" ] || bad "LUN 0 is not the changer"
    expect "LUNs reported" $((EXPECT_DRIVES + 1)) "$(sg_luns -q "$CHG" | grep -c .)"
}
check luns 60 c_luns

c_ch() {
    udevadm settle
    [ -c /dev/sch0 ] || bad "Linux's changer driver is not attached"
    mtx -f "$CHG" status
}
check changer-driver 60 c_ch
# Drive k of the changer is LUN k.
c_map() {
    drive_map || return 1
    awk '{ print $1 + 1, $2 }' /run/drive.map | sort -n >"$T/found"
    for n in $(seq "$EXPECT_DRIVES"); do echo "$n ${NST[$((n - 1))]}"; done | diff - "$T/found"
}
check drive-map 120 c_map

c_tar() {
    with_tape || return 1
    mkdir -p "$T/tree" && stream 5 3000000 >"$T/tree/some" && echo text >"$T/tree/more" || return 1
    tar -b 128 -cf "$TAPE" -C "$T" tree && tar -b 128 -cf "$TAPE" -C "$T" tree/more || return 1
    mt -f "$TAPE" rewind && tar -b 128 -df "$TAPE" -C "$T" && mt -f "$TAPE" rewind || return 1
    mt -f "$TAPE" fsf 1 && expect "second archive" tree/more "$(tar -b 128 -tf "$TAPE")"
}
check tar 120 c_tar
# While one drive writes, the other and the changer are used.
c_together() {
    local from
    from=$(slots slot full | head -1)
    mtx -f "$CHG" load "$from" 1 && wait_ready "${SG[1]}" || return 1
    mt -f "${NST[0]}" rewind && mt -f "${NST[1]}" rewind || return 1
    stream 8 8388608 >"$T/d"
    dd if="$T/d" of="${NST[0]}" bs=262144 &
    dd if="$T/d" of="${NST[1]}" bs=65536 && mtx -f "$CHG" status >/dev/null && wait $! || return 1
    local k
    for k in 0 1; do
        mt -f "${NST[$k]}" rewind || return 1
        expect "drive $k" "$(sha256sum <"$T/d")" "$(dd if="${NST[$k]}" bs=262144 status=none | sha256sum)" || return 1
    done
    changer_home
}
check together 180 c_together
