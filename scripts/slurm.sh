#!/usr/bin/env bash
# The whole table on a cluster with Slurm: sbatch scripts/slurm.sh [DATA_ROOT] [further flags of main.py reproduce]
# from the project's folder. Each task of the array does its share of the thirty folds, one after the other. A task whose
# time is up is queued again and goes on with the fold and epoch where it stood; so does one that was killed, when the
# script is submitted again. What is done is not done again, and no fold is done twice, whatever the number of tasks. The
# table is written by each task as it ends.
#
# A single run does the same: srun python train.py …, with --requeue and --signal=USR1@90 (without B: under srun). When
# Slurm starts its job again, it goes on by itself; submitted anew, with --resume auto.
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
# outputs/ has to lie on a disk that all machines share. If that disk knows no file locks (Lustre without -o flock), a
# killed task leaves locks to delete.
#SBATCH --job-name=mrdf
#SBATCH --array=1-6
#SBATCH --partition=gpu
#SBATCH --gres=gpu:1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=40G
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%A-%a.log
#SBATCH --requeue
# Time to stop the training process before the time is up.
#SBATCH --signal=B:USR1@90
set -euo pipefail
# Slurm runs a copy of this script, so the project is where sbatch was called.
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}"
data_root=${1:-./data/FakeAVCeleb_v1.2/}
source scripts/venv.sh  # or the cluster's own: module load python/3.11

exec python main.py reproduce --data_root "$data_root" \
    --shard "${SLURM_ARRAY_TASK_ID:-1}/${SLURM_ARRAY_TASK_COUNT:-1}" "${@:2}"
