#!/bin/bash
# The library as Linux's own changer driver sees it: ch, which asks for one element at a time.
. /job/lib.sh
find_devices
if [ -z "$CHG" ]; then skip changer "no changer"; exit 0; fi

c_attach() {
    modprobe ch
    udevadm settle
    [ -c /dev/sch0 ] || bad "no changer device"
    dmesg | grep -A8 'SCSI Media Changer driver\|ch0: type' | tail -12
}
check attach 60 c_attach
for name in parameters every-element tag-and-source move refused-moves exchange position \
    import-export inventory labels-stay; do
    check "$name" 300 python3 /job/ch_ioctl.py "$name"
done
