#!/usr/bin/env bash
# The whole table on a cluster with Slurm: sbatch scripts/slurm.sh [DATA_ROOT] [further flags of main.py reproduce]
# from the project's folder. Each task of the array does its share of the thirty folds, one after the other. A task that
# ran out of time or was killed goes on where it stood: submit the script again, as often as it takes. What is done is
# not done again, and no fold is done twice, whatever the number of tasks. The table is written by each task as it ends.
#
# Before the first time, where there is a network: source scripts/venv.sh makes the environment, and
# python main.py prepare --data_root DATA_ROOT --cache checks the data and makes loading many times faster.
#
# To adapt:
#   --array        as many tasks as GPUs you may use at once; the share of each follows from it
#   --partition    the cluster's name for machines with GPUs (sinfo lists them); on some also --account
#   --gres         one GPU a task
#   --time         the longest that the partition allows
#   --mem          memory of the machine, not of the GPU; shared by the processes that load clips, one a core, 8 at most
# outputs/ has to lie on a disk that all machines share and that knows file locks (NFS 4, Lustre with -o flock, BeeGFS).
#SBATCH --job-name=mrdf
#SBATCH --array=1-6
#SBATCH --partition=gpu
#SBATCH --gres=gpu:1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=40G
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%A-%a.log
# Time to stop the training process when the time is up.
#SBATCH --signal=B:TERM@60
set -euo pipefail
# Slurm runs a copy of this script, so the project is where sbatch was called.
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}"
data_root=${1:-./data/FakeAVCeleb_v1.2/}
source scripts/venv.sh  # or the cluster's own: module load python/3.11

# Lightning would take the task for one of several that train together.
unset SLURM_NTASKS SLURM_NTASKS_PER_NODE
exec python main.py reproduce --data_root "$data_root" \
    --shard "${SLURM_ARRAY_TASK_ID:-1}/${SLURM_ARRAY_TASK_COUNT:-1}" "${@:2}"
