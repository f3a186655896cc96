# Sourced by the other scripts: a virtual environment with the requirements, made once and then reused.
# VENV=/some/folder puts it elsewhere; PYTHON=python3.12 makes it with another Python.
VENV=${VENV:-.venv}
stamp="$VENV/requirements.txt"
if ! cmp -s requirements.txt "$stamp"; then
    "${PYTHON:-python3}" -c 'import sys; sys.exit("Python 3.10 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 10) else 0'
    echo "installing the requirements into $VENV (a few GB, once)"
    "${PYTHON:-python3}" -m venv "$VENV"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
    cp requirements.txt "$stamp"  # last, so that an interrupted installation is repeated
fi
PATH="$(cd "$VENV" && pwd)/bin:$PATH"
