#!/usr/bin/env bash
# Slurm, the classic way: `ray start` on each node, and the search on the head; it starts before all nodes are up
#
# From the project's folder, set up by `make setup` on a file system that all nodes share:
#
#   sbatch slurm-classic.sh full_grid --set data="$HOME/data/scribbles"
#   tail --follow scribble-search-JOBID.log
#   scancel JOBID
#
# Submitted again, the search resumes, also after its time limit. Ray needs whole nodes: another
# Ray on one of them would be mistaken for this one.
#
#SBATCH --job-name=scribble-search
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --no-kill
set -euo pipefail

cd "$SLURM_SUBMIT_DIR"
export PATH="$PWD/.venv/bin:$PATH"

# A token for this job, in a file that only its owner can read: command lines are visible to all users.
private=$(mktemp -d "$HOME/.scribble-search-$SLURM_JOB_ID.XXXXXX")
nodes=()
cleanup() {
  ((${#nodes[@]} == 0)) || kill "${nodes[@]}" 2> /dev/null || true
  wait
  rm -rf "$private"
}
trap cleanup EXIT
(umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$private/token")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$private/token" RAY_USAGE_STATS_ENABLED=0

# This script runs on the first node of the job, which becomes the head.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
others=$((SLURM_JOB_NUM_NODES - 1))
read -r address _ <<< "$(hostname --all-ip-addresses)"
port=$((20000 + SLURM_JOB_ID % 10000))

# A task for each node, whose Ray ends when its task is ended.
start() {
  local count=$1 where=$2
  shift 2
  srun --nodes="$count" --ntasks="$count" "$where" --kill-on-bad-exit=0 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    ray start "$@" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
  nodes+=("$!")
}

start 1 --nodelist="$first" --head --node-ip-address="$address" --port="$port" --dashboard-host=127.0.0.1
tries=60
until ray health-check --address "$address:$port" &> /dev/null; do
  if ((--tries == 0)); then
    echo "error: Ray did not start at $address:$port; see the lines above" >&2
    exit 1
  fi
  sleep 5
done
if ((others > 0)); then
  start "$others" --exclude="$first" --address="$address:$port"
fi

python -m search launch "$@" --address "$address:$port" --runs "$PWD/runs"
