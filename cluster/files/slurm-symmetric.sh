#!/usr/bin/env bash
# Slurm, the short way: `ray symmetric-run` starts Ray on all nodes of a job, runs the search and ends Ray again
#
# From the project's folder, set up by `make setup` on a file system that all nodes share:
#
#   sbatch slurm-symmetric.sh full_grid --set data="$HOME/data/scribbles"
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
trap 'rm -rf "$private"' EXIT
(umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$private/token")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$private/token"
export RAY_USAGE_STATS_ENABLED=0 RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300

# This script runs on the first node of the job, which becomes the head.
read -r address _ <<< "$(hostname --all-ip-addresses)"
head="$address:$((20000 + SLURM_JOB_ID % 10000))"

# symmetric-run also ends with 0 when no Ray came up, so the search leaves its exit code in a file.
echo 1 > "$private/code"
# shellcheck disable=SC2016 # it is the shell on the head that expands this
srun --kill-on-bad-exit=0 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  ray symmetric-run --address "$head" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus="$SLURM_CPUS_PER_TASK" --dashboard-host=127.0.0.1 \
  -- bash -c '"$@"; echo "$?" > "$0"' "$private/code" \
  python -m search launch "$@" --address "$head" --runs "$PWD/runs" || true
code=$(< "$private/code")
exit "$code"
