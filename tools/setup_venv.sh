#!/usr/bin/env bash
# The environment in .venv: a Python of 3.11 or later, the package in place, its requirements at the versions of constraints.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/apt.sh
recent='import sys; sys.exit(sys.version_info < (3, 11))'

# nothing to do: it is ready, of this very folder, and no requirement has changed since
here() { grep -qsF "$(pwd -P)/.venv/bin" .venv/bin/pip; }
since() { for f; do [ .venv/.ready -nt "$f" ] || return 1; done; }
if here && since constraints.txt settings.ini setup.py; then exit 0; fi

python=
for p in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$p" -c "$recent" 2>/dev/null; then python=$p; break; fi
done
if [ -z "$python" ]; then
    found=$("${PYTHON:-python3}" --version 2>/dev/null) || found='not there'
    stop "landscape_nb needs Python 3.11 or later and ${PYTHON:-python3} is $found: install one, or name it as in 'make test PYTHON=/path/to/python3.11'."
fi

# made anew when it is not whole, too old, or came along with a checkout that was moved or copied
if ! .venv/bin/python -m pip --version >/dev/null 2>&1 || ! .venv/bin/python -c "$recent" || ! here; then
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then  # Debian and Ubuntu pack it apart
        venv=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        echo "setup: installing $venv"
        apt_install "$venv" || stop "$python cannot make a virtual environment without the package $venv: run 'apt-get install $venv' as root, then this command again."
    fi
    echo "setup: .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi
echo 'setup: requirements at the versions of constraints.txt (some minutes the first time)'
.venv/bin/python -m pip install --quiet --no-input -c constraints.txt -e '.[dev,datasets]'
touch .venv/.ready
