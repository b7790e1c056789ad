#!/bin/bash
# One mas-ray verb on a Ray cluster of its own, for the time of a Slurm job:
#
#     sbatch --nodes=4 --gpus-per-node=1 cluster/slurm.sh train --job job.json
#
# mas-ray must be installed in the environment that sbatch is called in, on a disk that every node sees, and so must
# be what the verb reads and writes. The exit status is the verb's. When the job ends, however it ends, so does Ray.
#SBATCH --job-name=mas-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail

if [ "$#" -eq 0 ]; then
    echo "usage: sbatch cluster/slurm.sh VERB [FLAG ...]" >&2
    exit 2
fi

# A token of this job's own: nobody else on these nodes can submit code to it. It is on no command line and in no file.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
on_head=(srun --nodes=1 --ntasks=1 "--nodelist=$head" --overlap)
# Ports and folders of this job's own as well, since others may have Ray on the same nodes.
port=$((20000 + SLURM_JOB_ID % 10000))
head_ip=$("${on_head[@]}" hostname --ip-address | tr ' ' '\n' | grep -m1 -v '^127\.')
export RAY_ADDRESS="$head_ip:$port"
common=(--block "--num-cpus=${SLURM_CPUS_PER_TASK:-1}" "--temp-dir=/tmp/ray-$SLURM_JOB_ID" --disable-usage-stats)

steps=()
verb=
end() {
    status=$?
    trap - EXIT TERM INT
    # The verb first, which has things to write; then each node's Ray, and nobody else's, as `ray stop` would.
    for step in $verb "${steps[@]}"; do
        kill -TERM "$step" 2>/dev/null || true
        wait "$step" || true
    done
    exit "$status"
}
trap end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

"${on_head[@]}" ray start --head "--node-ip-address=$head_ip" "--port=$port" --include-dashboard=false "${common[@]}" &
steps+=($!)
if [ "${#nodes[@]}" -gt 1 ]; then
    others=$(IFS=,; echo "${nodes[*]:1}")
    srun --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) --nodelist="$others" --overlap \
        ray start "--address=$RAY_ADDRESS" "${common[@]}" &
    steps+=($!)
fi

count_nodes='import ray; ray.init(logging_level="ERROR"); print(sum(node["Alive"] for node in ray.nodes()))'
for _ in $(seq 60); do
    joined=$("${on_head[@]}" timeout 60 python -c "$count_nodes" 2>/dev/null | tail -n 1) || joined=0
    [ "$joined" = "${#nodes[@]}" ] && break
    sleep 5
done
if [ "$joined" != "${#nodes[@]}" ]; then
    echo "$joined of ${#nodes[@]} nodes joined the cluster at $RAY_ADDRESS" >&2
    exit 1
fi

"${on_head[@]}" mas-ray "$@" &
verb=$!
wait "$verb"
