import os
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
os.chdir(ROOT)
for name in ('IN_TEST', 'MAKEFLAGS', 'MAKELEVEL', 'MFLAGS'): os.environ.pop(name, None)  # nbdev_export does nothing under IN_TEST
os.environ |= {'OMP_NUM_THREADS': '1', 'MPLBACKEND': 'agg', 'PYDEVD_DISABLE_FILE_VALIDATION': '1'}  # two tests run at a time

def pytest_collection_modifyitems(items):
    "Files with long tests come first: at the end no worker waits long for another."
    items.sort(key=lambda item: item.path.stem not in ('test_reproduce', 'test_binary', 'test_notebooks'))

@pytest.fixture
def root(): return ROOT
