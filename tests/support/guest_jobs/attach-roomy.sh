#!/bin/bash
# As attach-iscsi, with sockets that hold all that a READ of some MiB brings. With the usual ones the
# guest closes the TCP window now and then, and QEMU's user network takes no note when it opens it:
# it asks again after five seconds. That network is of the tests alone.
RECEIVE_BYTES=8388608
sysctl -q -w net.core.rmem_max=$RECEIVE_BYTES
sed -i '/tcp.window_size/d' /etc/iscsi/iscsid.conf
echo "node.conn[0].tcp.window_size = $RECEIVE_BYTES" >>/etc/iscsi/iscsid.conf
# What follows knows it by this name.
echo ATTACH=iscsi >>/job/job.env
exec bash /job/attach-iscsi.sh
