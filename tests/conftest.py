import fcntl, os
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
os.chdir(ROOT)
for name in ('IN_TEST', 'MAKEFLAGS', 'MAKELEVEL', 'MFLAGS'): os.environ.pop(name, None)  # nbdev_export does nothing under IN_TEST
os.environ |= {'OMP_NUM_THREADS': '1', 'MPLBACKEND': 'agg', 'PYDEVD_DISABLE_FILE_VALIDATION': '1'}  # two tests run at a time

def pytest_collection_modifyitems(items):
    "Files with long tests come first: at the end no worker waits long for another."
    items.sort(key=lambda item: item.path.stem not in ('test_reproduce', 'test_binary', 'test_notebooks'))

@pytest.fixture(scope='session')
def root(): return ROOT

@pytest.fixture(scope='session')
def once(tmp_path_factory):
    "`once(name, make)`: a folder that `make(folder)` filled, in one worker of pytest for all of them."
    base = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ: base = base.parent
    def once(name, make):
        at, done = base/name, base/f'{name}.done'
        with open(base/f'{name}.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                at.mkdir()
                make(at)
                done.touch()
        return at
    return once
