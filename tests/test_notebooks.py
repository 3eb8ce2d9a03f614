"Each notebook is one test, run as `nbdev_test` runs it (it honours tst_flags, eval: false and skip_exec)."
import multiprocessing, os
import pytest
from pages import pages

PAGES = [p for p in pages() if not p.skipped]
fresh = multiprocessing.get_context('forkserver')     # a process of its own for each page; what most pages import is imported once for all
fresh.set_forkserver_preload(['matplotlib.pyplot', 'nbdev.test', 'pandas', 'scipy.stats', 'torch.export._trace', 'torchvision'])

def run_page(path, log):
    out = os.open(log, os.O_WRONLY)
    for stream in 1, 2: os.dup2(out, stream)
    from joblib.externals.loky import get_reusable_executor
    from nbdev.test import nbdev_test
    try: nbdev_test(path=str(path), n_workers=0)
    finally: get_reusable_executor().shutdown()      # the processes of a sweep would be waited for until they have been idle for minutes

def test_there_are_notebooks(): assert len(PAGES) >= 5

@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_notebook(page, tmp_path):
    (log := tmp_path/'log').touch()
    p = fresh.Process(target=run_page, args=(page.path, log))
    p.start()
    p.join(600)
    if p.is_alive(): p.kill(); p.join()
    assert p.exitcode == 0, log.read_text()
