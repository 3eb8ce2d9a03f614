"Each notebook is one test, run as `nbdev_test` runs it (it honours tst_flags, eval: false and skip_exec)."
import subprocess, sys
import pytest
from pages import pages

PAGES = [p for p in pages() if not p.skipped]

def test_there_are_notebooks(): assert len(PAGES) >= 5

@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_notebook(page, root):
    run = f'from nbdev.test import nbdev_test; nbdev_test(path={str(page.path)!r}, n_workers=0)'
    r = subprocess.run([sys.executable, '-c', run], cwd=root, capture_output=True, text=True, timeout=600)
    assert r.returncode == 0, r.stdout + r.stderr
