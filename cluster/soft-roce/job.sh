#!/bin/bash
# What the RDMA test runs inside the machine. Fails at the first thing that is wrong.
set -euo pipefail
export UCX_WARN_UNUSED_ENV_VARS=n

step() { echo "== $*"; }

step devices
ibv_devinfo -d rxe0 | grep -E "hca_id|state|active_mtu|link_layer"

step "link, 2 ranks over verbs"
apus bench link --ranks 2 --transport rdma --seconds 1 --no-perftest

step "link, 4 ranks over verbs"
apus bench link --ranks 4 --transport rdma --seconds 0.3 --no-perftest --matrix

step "perftest's ib_write_lat and ib_write_bw on the same device"
ib_write_lat -d rxe0 -R -s 8 -n 1000 >/tmp/server 2>&1 &
sleep 1
ib_write_lat -d rxe0 -R -s 8 -n 1000 10.0.0.1 | tail -3
wait
ib_write_bw -d rxe0 -R -s 1048576 -n 200 >/tmp/server 2>&1 &
sleep 1
ib_write_bw -d rxe0 -R -s 1048576 -n 200 10.0.0.1 | tail -3
wait

step "a rank that is killed is named by the others"
apus bench link --ranks 3 --transport rdma --seconds 20 --no-perftest 2>/tmp/errors &
bench=$!
sleep 5
victim=$(tr " " "\n" <"/proc/$bench/task/$bench/children" | grep . | tail -1)
kill -9 "$victim"
killed=$(cut -d' ' -f1 /proc/uptime)
status=0
wait "$bench" || status=$?
echo "exit $status, $(cut -d' ' -f1 /proc/uptime) - $killed s after the kill"
cat /tmp/errors
[ "$status" -eq 3 ]
[ "$(grep -c 'rank 2 left' /tmp/errors)" -eq 2 ]

step "a device that is not here"
status=0
apus bench link --ranks 2 --transport rdma --device mlx5_9 --no-perftest 2>/tmp/errors || status=$?
cat /tmp/errors
[ "$status" -eq 2 ]

step "UCX 1.13 through rdmacm and rc, for the record"
export UCX_TLS=rc_verbs,ud_verbs,tcp UCX_NET_DEVICES=rxe0:1,eth0
timeout 20 ucx_perftest -t ucp_am_lat -s 8 -n 1000 >/tmp/server 2>&1 &
sleep 1
timeout 15 ucx_perftest 10.0.0.1 -t ucp_am_lat -s 8 -n 1000 2>&1 | tail -3 || true
