#!/usr/bin/env bash
# Train with several processes on this machine (one per GPU; gloo where there is none), or on several machines.
#   tools/dist_train.sh CONFIG NPROC [options of tools/train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT. The interpreter is PYTHON (default: python).
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG NPROC [options of tools/train.py]" >&2
    exit 2
fi
config=$1
processes=$2
shift 2
rendezvous=(--standalone)
if [ "${NNODES:-1}" != 1 ] || [ -n "${PORT:-}" ]; then
    rendezvous=(--nnodes "${NNODES:-1}" --node_rank "${NODE_RANK:-0}"
        --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "${PORT:-29500}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${rendezvous[@]}" --nproc_per_node "$processes" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
