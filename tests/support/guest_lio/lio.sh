# What the suites of the kernel's target share; runs in the guest, after lib.sh.
# shellcheck shell=bash
. /job/gateway.env
export PYTHONPATH=/tmp/site
CONFIGFS=/sys/kernel/config/target
tapectl() { python3 -m tapectl.cli.app "$@"; }

unpack() { mkdir -p /tmp/site "$ROOT" && tar -C /tmp/site -xf /job/site.tar && tar -C "$ROOT" -xf /job/gateway.tar; }

# Somebody else's storage object, which must be there as long as the guest runs.
make_foreign() { modprobe target_core_mod && mount -t configfs configfs /sys/kernel/config; mkdir -p $CONFIGFS/core/rd_mcp_7/foreign; }

# serve FABRIC: returns when it serves
serve() {
    echo "== serve $1" >"$LOGS/serve.log"
    # No function of the shell: its process would be another.
    python3 -m tapectl.cli.app serve --frontend lio --fabric "$1" --listen 127.0.0.1:3260 >>"$LOGS/serve.log" 2>&1 &
    echo $! >/run/serve.pid
    await_serving
}

await_serving() {
    for _ in $(seq $((600 * SCALE))); do
        grep -q '^serving' "$LOGS/serve.log" && return 0
        kill -0 "$(cat /run/serve.pid)" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

await_end() {
    for _ in $(seq $((600 * SCALE))); do
        if ! kill -0 "$(cat /run/serve.pid)" 2>/dev/null; then mv "$LOGS/serve.log" "$LOGS/serve-$SECONDS-$RANDOM.log"; return 0; fi
        sleep 0.1
    done
    return 1
}

# log in to all targets with the guest's open-iscsi, wait for the drivers
attach() {
    modprobe iscsi_tcp
    mkdir -p /run/lock/iscsi
    sed -i -e 's/^node.startup.*/node.startup = manual/' /etc/iscsi/iscsid.conf
    # rtslib takes no name without a dot there.
    echo 'InitiatorName=iqn.2000-01.com.example:guest' >/etc/iscsi/initiatorname.iscsi
    pidof iscsid >/dev/null || iscsid
    timeout $((60 * SCALE)) iscsiadm -m discovery -t sendtargets -p 127.0.0.1:3260 >"$OUT/discovery.txt" 2>&1 || die "$(tail -1 "$OUT/discovery.txt")" || return 1
    timeout $((60 * SCALE)) iscsiadm -m node -p 127.0.0.1:3260 --login >"$LOGS/login.log" 2>&1 || die "$(tail -1 "$LOGS/login.log")" || return 1
    wait_devices
}

wait_devices() {
    for _ in $(seq $((60 * SCALE))); do
        find_devices
        [ ${#CHANGERS[@]} -ge 1 ] && [ ${#NST[@]} -ge "$EXPECT_DRIVES" ] && [ "${NST[0]}" != /dev/ ] && return 0
        sleep 0.5
    done
    die "${#NST[@]} tapes, ${#CHANGERS[@]} changers"
}

workers() { pgrep -f tapectl.serve.worker; }
