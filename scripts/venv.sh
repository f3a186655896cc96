# Sourced by the other scripts: a virtual environment with what the code needs, made once and then reused.
# VENV=/some/folder puts it elsewhere; PYTHON=python3.12 makes it with another Python; REQUIREMENTS names another list,
# such as requirements-cu12.txt. Where it fits, that is requirements.lock, with every version that the tests ran with.
PYTHON=${PYTHON:-python3}
if [ -z "${REQUIREMENTS:-}" ]; then
    machine=$("$PYTHON" -c 'import platform, sys; print(f"Python {sys.version_info[0]}.{sys.version_info[1]},", platform.system(), platform.machine())')
    if grep -qxF "# $machine" requirements.lock; then REQUIREMENTS=requirements.lock; else REQUIREMENTS=requirements.txt; fi
fi
case $REQUIREMENTS in *-cu12.txt) VENV=${VENV:-.venv-cu12} ;; *) VENV=${VENV:-.venv} ;; esac
if ! cmp -s "$REQUIREMENTS" "$VENV/requirements.txt"; then
    "$PYTHON" - <<'EOF'
import sys
found = sys.version.split()[0]
if sys.version_info < (3, 10):
    sys.exit(f"Python 3.10 to 3.13 is needed, this is {found}; PYTHON=python3.11 names another")
if sys.version_info >= (3, 14):
    sys.exit(f"Python 3.10 to 3.13 is needed, this is {found}, for which the pinned numpy and scipy have no wheels; "
             "PYTHON=python3.13 names another")
EOF
    echo "installing $REQUIREMENTS into $VENV (a few GB, once)"
    "$PYTHON" -m venv "$VENV"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$REQUIREMENTS"
    cp "$REQUIREMENTS" "$VENV/requirements.txt"  # last, so that an interrupted installation is repeated
fi
PATH="$(cd "$VENV" && pwd)/bin:$PATH"
