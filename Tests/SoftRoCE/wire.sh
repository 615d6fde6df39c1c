#!/bin/bash
# What each of two machines runs when a wire joins them: two ranks of four, all-to-all over verbs
# from machine to machine. Correctness only: the wire is a socket of the host's.
# Usage: wire.sh MACHINE (1 or 2). Fails at the first thing that is wrong.
set -euo pipefail
machine=$1
meeting=29500

step() {
    meeting=$((meeting + 1))
    echo "== machine $machine: $*"
}

# The two ranks of this machine, started as torchrun would; the exit codes of both.
ranks() {
    local processes=() codes=()
    for local in 0 1; do
        RANK=$((2 * (machine - 1) + local)) WORLD_SIZE=4 MASTER_ADDR=10.0.0.1 \
            MASTER_PORT=$meeting apus "$@" 2>"/tmp/errors.$local" &
        processes+=($!)
    done
    for process in "${processes[@]}"; do
        local code=0
        wait "$process" || code=$?
        codes+=("$code")
    done
    cat /tmp/errors.*
    exits=${codes[*]}
    echo "exit codes $exits"
}

step "the other machine answers"
for attempt in $(seq 200); do
    ping -c 1 -W 1 "10.0.0.$((3 - machine))" >/dev/null && break
    [ "$attempt" -lt 200 ]
done

step "links of four ranks on two machines"
ranks bench link --transport rdma --seconds 0.3 --no-perftest --matrix
[ "$exits" = "0 0" ]

# Every byte of every exchange is checked; a wrong one is exit code 1. With nodes, ranks of one
# machine share memory and a token crosses the wire once; without, verbs carry all.
for mode in normal low-latency; do
    for nodes in "" "--nodes 0,0,1,1"; do
        step "all-to-all, $mode $nodes"
        # shellcheck disable=SC2086
        ranks bench all-to-all --transport rdma $nodes --mode "$mode" --tokens 32 \
            --experts 32 --iterations 5 --warm-up 1
        [ "$exits" = "0 0" ]
    done
done

step "unasked, verbs go to the other machine and stores stay at home"
ranks bench link --seconds 0.3 --no-perftest --matrix >/tmp/links
cat /tmp/links
[ "$exits" = "0 0" ]
if [ "$machine" = 1 ]; then
    grep -q "^0-1 .*shm" /tmp/links
    grep -q "^0-2 .*verbs:" /tmp/links
fi
ranks bench all-to-all --tokens 32 --experts 32 --iterations 5 --warm-up 1
[ "$exits" = "0 0" ]

step "a wire that is cut amid exchanges: both machines name ranks of the other"
(sleep 12 && ip link set eth0 down) &
ranks bench all-to-all --transport rdma --nodes 0,0,1,1 --tokens 16 --experts 32 \
    --hidden 1024 --pressure 60 --limit 10
[ "$exits" = "3 3" ]
lost=$([ "$machine" = 1 ] && echo "rank [23]" || echo "rank [01]")
[ "$(grep -cE "$lost (left|sent nothing)" /tmp/errors.0)" -ge 1 ]
[ "$(grep -cE "$lost (left|sent nothing)" /tmp/errors.1)" -ge 1 ]
[ -z "$(ls /dev/shm)" ]
[ -z "$(pidof apus)" ]
