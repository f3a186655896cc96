#!/usr/bin/env bash
# Set up everything, check style and types, and run the tests. Arguments go to pytest: bash scripts/check.sh -k folds
# REQUIREMENTS=requirements-cu12.txt bash scripts/check.sh does it with the torch for older drivers.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/venv.sh
python -m ruff check .
python -m ruff format --check .
python -m mypy
OMP_NUM_THREADS=1 python -m pytest -n 2 --dist worksteal "$@"  # two processes of one thread each
