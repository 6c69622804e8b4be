#!/usr/bin/env bash
# sbatch slurm.sh     from this folder: one task for each shard, each on one GPU. What is preempted goes on by itself.
# Install once before, where there is a network: BACKEND=@GPU_BACKEND@ bash run.sh --install
#SBATCH --job-name=localsynth
#SBATCH --array=1-@SHARDS@
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=32G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=shard-%a.log
# Five minutes before the end, so that what is in flight can be finished.
#SBATCH --signal=B:TERM@300
set -euo pipefail
# Named, as --install ran where perhaps no GPU told it.
export BACKEND=${BACKEND:-@GPU_BACKEND@}
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")}"

stopped= child=
trap 'stopped=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true' TERM
bash run.sh "$SLURM_ARRAY_TASK_ID" &
child=$!
# Where the signal came between the two.
[ -z "$stopped" ] || kill -TERM "$child" 2>/dev/null || true
while :; do
  code=0
  wait "$child" || code=$?
  kill -0 "$child" 2>/dev/null || break
done
if [ -n "$stopped" ] && [ "$code" -eq 6 ]; then
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"
