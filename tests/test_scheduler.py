"A cluster gives the numbers of this machine, also when one of its workers is killed; one that cannot is refused before anything is computed."
import json, os, shutil, signal, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
import psutil, pytest
from landscape_nb.ground.cluster import Cluster, ClusterError
from landscape_nb.store import Store, sweep
from landscape_nb.study import plan

DASK = Path(sys.executable).parent/'dask'

def dask(*args, **env):
    return subprocess.Popen([DASK, *args, '--no-dashboard'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | env, start_new_session=True)

def end(p):
    "Ask it to end, so that the scheduler hears of it; then see to it"
    if p.poll() is not None: return
    started = psutil.Process(p.pid).children(recursive=True)
    p.terminate()
    try: p.wait(10)
    except subprocess.TimeoutExpired: p.kill()
    for o in psutil.wait_procs(started, 5)[1]: o.kill()

@pytest.fixture(scope='module')
def address(tmp_path_factory):
    at = tmp_path_factory.mktemp('dask')/'scheduler.json'
    p = dask('scheduler', '--host', '127.0.0.1', '--port', '0', '--scheduler-file', str(at))
    while not at.exists() or not at.read_text().endswith('}'): time.sleep(.05)
    yield json.loads(at.read_text())['address']
    end(p)

@contextmanager
def workers(address, n=2, threads=1, **env):
    started = [dask('worker', address, '--no-nanny', '--nthreads', str(threads), **env) for _ in range(n)]
    try: yield started
    finally:
        for p in started: end(p)

def tables(out, scheduler=''):
    "Every frame of a small study as text, without the seconds that something took"
    study = plan('mlp', 'digits', 'sgd adv', seeds=2, preset='smoke', width=.2, n_train=200, out=out, jobs=1, scheduler=scheduler)
    return {k: f.drop(columns='seconds', errors='ignore').to_csv() for k, f in study.frames().items()}

def busy(workers):
    "One that computes"
    found = {p.pid: psutil.Process(p.pid).cpu_times().user for p in workers}
    time.sleep(.2)
    return max(workers, key=lambda p: psutil.Process(p.pid).cpu_times().user - found[p.pid])

@pytest.mark.long
def test_a_killed_worker_changes_no_table(address, tmp_path):
    with workers(address) as both, ThreadPoolExecutor(1) as pool:
        there, minima = pool.submit(tables, tmp_path/'there', address), tmp_path/'there'/'store'/'minimum'
        while not [*minima.glob('*.lock')]: assert not there.done(), there.result(); time.sleep(.02)
        victim = busy(both)
        victim.kill(); victim.wait()
        assert [*minima.glob('*.lock')], 'nothing was computed at that moment'
        alone = tables(tmp_path/'alone')
        assert there.result() == alone
    assert not [f for f in (tmp_path/'there').rglob('*') if f.suffix in ('.lock', '.corrupt', '.checkpoint') or f.name.startswith('.')]

@pytest.mark.long
def test_an_interrupt_takes_the_tasks_back(address, tmp_path, caplog):
    caplog.set_level('INFO', 'landscape_nb')
    def note(i):
        (tmp_path/f'{i}.txt').touch(); time.sleep(.5)
    def interrupt():
        while not [*tmp_path.glob('*.txt')]: time.sleep(.02)
        os.kill(os.getpid(), signal.SIGINT)
    with workers(address, n=1):
        Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt): sweep([(note, (i,)) for i in range(9)], desc='notes', cluster=Cluster(address, tmp_path))
        time.sleep(1.5)
    assert len([*tmp_path.glob('*.txt')]) < 5 and 'notes: interrupted after ' in caplog.text

@contextmanager
def own_scheduler(folder):
    "A scheduler that may be killed -> (its process, its address)"
    at = folder/'own.json'
    p = dask('scheduler', '--host', '127.0.0.1', '--port', '0', '--scheduler-file', str(at))
    while not at.exists() or not at.read_text().endswith('}'): time.sleep(.05)
    try: yield p, json.loads(at.read_text())['address']
    finally: end(p)

@pytest.mark.long       # half a minute each, and the clock decides
@pytest.mark.parametrize('which', ['workers', 'scheduler'])
def test_a_lost_cluster_ends_the_sweep_in_half_a_minute(which, tmp_path, monkeypatch):
    import landscape_nb.ground.cluster as module
    assert module.ALONE + module.LOOK + 5 < 30
    monkeypatch.setattr(module, 'ALONE', 4.)
    monkeypatch.setattr(module, 'FETCH', 2.)
    def keep(i, store): return store.remember(dict(kind='kept', i=i), lambda cp: (time.sleep(.3 if i == 0 else 60), ({}, dict(i=i)))[1]).record
    store = Store(tmp_path/'store')
    with own_scheduler(tmp_path) as (scheduler, own), workers(own) as both, ThreadPoolExecutor(1) as pool:
        swept = pool.submit(sweep, [(keep, (i, store)) for i in range(4)], cluster=Cluster(own, store.root))
        while not store.has(dict(kind='kept', i=0)): assert not swept.done(), swept.result(); time.sleep(.05)
        for p in both if which == 'workers' else [scheduler]: p.kill()
        begun = time.monotonic()
        with pytest.raises(ClusterError, match='has had no workers for 4 s' if which == 'workers' else 'does not answer any more') as e: swept.result(timeout=60)
        took = time.monotonic() - begun
        assert took < 30 and 'what is stored stays' in str(e.value) and '\n' not in str(e.value)
    assert store.has(dict(kind='kept', i=0)) and not [*store.root.glob('.probe*')]

def test_workers_with_another_page_of_the_package_are_refused(monkeypatch, tmp_path):
    "Also one in a folder."
    import landscape_nb.ground.cluster as module
    shutil.copytree(Path(module.__file__).parent.parent, tmp_path/'landscape_nb')
    before = module.code_here()
    monkeypatch.setattr(module.landscape_nb, '__file__', str(tmp_path/'landscape_nb'/'__init__.py'))
    assert module.code_here() == before
    with open(tmp_path/'landscape_nb'/'search'/'group.py', 'a') as f: f.write('# changed\n')
    assert module.code_here() != before

def test_a_cluster_that_cannot_take_part_is_refused(address, tmp_path):
    with pytest.raises(ClusterError, match='nothing answers'): Cluster('tcp://127.0.0.1:9', tmp_path).check()
    other = tmp_path/'other'
    shutil.copytree('landscape_nb', other/'landscape_nb')
    with open(other/'landscape_nb'/'torus.py', 'a') as f: f.write('# changed\n')
    with workers(address, n=1, threads=2, PYTHONPATH=str(other)), pytest.raises(ClusterError, match='runs other code .source.*--nthreads 1'): Cluster(address, tmp_path).check()
    assert not [*tmp_path.glob('.probe*')]
