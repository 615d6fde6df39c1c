#!/bin/bash
# What the RDMA test runs inside the machine. Fails at the first thing that is wrong.
set -euo pipefail
export UCX_WARN_UNUSED_ENV_VARS=n

step() { echo "== $*"; }

step devices
ibv_devinfo -d rxe0 | grep -E "hca_id|state|active_mtu|link_layer"

step "link, 2 ranks over verbs, raw verbs and perftest beside it"
apus bench link --ranks 2 --transport rdma --seconds 1

step "link, 4 ranks over verbs"
apus bench link --ranks 4 --transport rdma --seconds 0.3 --no-perftest --matrix

# Every byte of every exchange is checked; a wrong one is exit code 1.
for ranks in 2 4; do
    for mode in normal low-latency; do
        step "all-to-all, $mode, $ranks ranks"
        apus bench all-to-all --transport rdma --ranks "$ranks" --mode "$mode" --tokens 32 \
            --experts 32 --iterations 5 --warm-up 1 | grep -v "^# [bti]"
    done
done

step "all-to-all with the data of a second run: the same hash"
for run in 1 2; do
    apus bench all-to-all --transport rdma --ranks 2 --tokens 32 --experts 32 --iterations 3 \
        --json | grep '"hash"'
done | uniq -c | grep -E "^ +2 "

step "a rank that is killed amid exchanges is named by the others"
apus bench all-to-all --ranks 3 --transport rdma --tokens 16 --experts 32 --hidden 1024 \
    --pressure 60 2>/tmp/errors &
bench=$!
sleep 6
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

step "too little memory may be locked"
chmod a+rw /dev/infiniband/*
status=0
# Root may lock what it wants. Busybox's own setpriv cannot change users.
(ulimit -l 64 && exec /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups \
    apus bench link --ranks 2 --transport rdma --no-perftest) 2>/tmp/errors || status=$?
cat /tmp/errors
[ "$status" -eq 2 ]
grep -q "RLIMIT_MEMLOCK is 65536 bytes" /tmp/errors

step "nothing is left"
[ -z "$(ls /dev/shm)" ]
[ -z "$(pidof apus)" ]

# What UCX does here is recorded, not required.
export UCX_TLS=rc_verbs,ud_verbs,tcp UCX_NET_DEVICES=rxe0:1,eth0
step "UCX $(ucx_info -v | grep -o 'version [0-9.]*' | head -1): wired up through UD"
timeout 20 ucx_perftest -t ucp_am_lat -s 8 -n 1000 >/tmp/server 2>&1 &
sleep 1
timeout 15 ucx_perftest 10.0.0.1 -t ucp_am_lat -s 8 -n 1000 2>&1 | tail -3 || true
for tls in rc_verbs rc_verbs,tcp; do
    export UCX_TLS=$tls UCX_SOCKADDR_TLS_PRIORITY=rdmacm UCX_NET_DEVICES=all
    for way in am tag stream; do
        step "UCX through rdmacm (ucp_listener and a sockaddr endpoint), $tls, $way"
        timeout 20 ucp_client_server -a 10.0.0.1 -c "$way" -i 3 >/tmp/server 2>&1 &
        sleep 1
        timeout 10 ucp_client_server -a 10.0.0.1 -c "$way" -i 3 2>&1 | tail -2 || true
        kill %% 2>/dev/null || true
        wait || true
        tail -2 /tmp/server
    done
done
