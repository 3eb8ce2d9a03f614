"A cluster gives the numbers of this machine, also when one of its workers is killed; one that cannot is refused before anything is computed."
import json, os, signal, subprocess, sys, time
from contextlib import contextmanager
from pathlib import Path
import psutil, pytest
from landscape_nb.cluster import Cluster, ClusterError
from landscape_nb.store import Store, sweep

DASK = Path(sys.executable).parent/'dask'

def dask(*args, **env):
    return subprocess.Popen([DASK, *args, '--no-dashboard'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | env, start_new_session=True)

def end(p):
    "Ask it to end, so that the scheduler hears of it; then see to it"
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
def workers(address, *args, n=2, threads=1, **env):
    p = dask('worker', address, '--nworkers', str(n), '--nthreads', str(threads), *args, **env)
    try: yield p
    finally: end(p)

STUDY = '''
import json, sys, torch
from landscape_nb.study import plan
study = plan('mlp', 'digits', 'sgd adv', seeds=2, preset='smoke', width=.2, n_train=200, out=sys.argv[1], jobs=1, scheduler=sys.argv[2])
frames = study.frames()
frames['minima'] = frames['minima'].drop(columns='seconds')
print(json.dumps({k: f.to_csv() for k, f in frames.items()}))
'''

def started(out, scheduler=''): return subprocess.Popen([sys.executable, '-c', STUDY, str(out), scheduler], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def tables(p):
    out, err = p.communicate(timeout=200)
    assert p.returncode == 0, err[-2000:]
    return json.loads(out)

def busy(nanny):
    "A process of a worker that computes"
    found = [c for c in psutil.Process(nanny.pid).children(recursive=True) if c.is_running() and c.cpu_percent(.05) > 20]
    return max(found, key=lambda c: c.cpu_times().user, default=None)

def test_a_killed_worker_changes_no_table(address, tmp_path):
    alone = started(tmp_path/'alone')
    with workers(address) as nanny:
        p = started(tmp_path/'there', address)
        store = tmp_path/'there'/'store'/'minimum'
        while not [*store.glob('*.lock')]: assert p.poll() is None, p.stderr.read(); time.sleep(.02)
        while not (victim := busy(nanny)): time.sleep(.02)
        lost = {f.stem for f in store.glob('*.lock')}
        os.kill(victim.pid, signal.SIGKILL)
        assert p.poll() is None and lost
        there = tables(p)
    assert there == tables(alone)
    assert not [f for f in (tmp_path/'there').rglob('*') if f.suffix in ('.lock', '.corrupt', '.checkpoint') or f.name.startswith('.')]

def add(a, b): return a + b

def test_a_cluster_that_cannot_take_part_is_refused(address, tmp_path):
    with pytest.raises(ClusterError, match='nothing answers'): Cluster('tcp://127.0.0.1:9', tmp_path).check()
    other = tmp_path/'other'; (other/'landscape_nb').mkdir(parents=True)
    for f in Path('landscape_nb').glob('*.py'): (other/'landscape_nb'/f.name).write_text(f.read_text() + '# changed\n'*(f.name == 'torus.py'))
    with workers(address, n=1, PYTHONPATH=str(other)), pytest.raises(ClusterError, match='runs other code .source'): Cluster(address, tmp_path).check()
    with workers(address, n=1, threads=2), pytest.raises(ClusterError, match='--nthreads 1'): Cluster(address, tmp_path).check()
    assert not [*tmp_path.glob('.probe*')]
