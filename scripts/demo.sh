#!/usr/bin/env bash
# The whole job on a synthetic miniature: draw it, train MRDF_CE at full size on five folds, test the checkpoint of
# fold 2, print the summary table, plot the ROC. Needs Python 3.10 or newer and nothing else; goes on where it was stopped.
# Usage: bash scripts/demo.sh [SUBJECTS [EPOCHS [FRAMES]]], larger numbers for a larger demo (40 3 10 by default).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/venv.sh
subjects=${1:-40} epochs=${2:-3} frames=${3:-10}
seconds=$(python -c "print(max(0.8, round($frames / 22, 2)))")  # clips vary in length by a tenth
data=data/mini-$subjects-$seconds
results=outputs/results/demo

python main.py synthesize --out "$data" --subjects "$subjects" --seconds "$seconds"
python train.py --model_type MRDF_CE --save_name demo --data_root "$data" --max_frames "$frames" --resume auto \
    --batch_size 8 --learning_rate 3e-4 --max_epochs "$epochs" --min_epochs "$epochs"
python test.py --data_root "$data" --train_fold train_2.txt --checkpoint outputs/ckpts/demo/demo_train_2.ckpt \
    --batch_size 8
cat "$results/summary.md"
echo "table: $results/summary.md, ROC: $results/roc.png, miniature: $data"
