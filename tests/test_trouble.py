"A full disk, a folder that cannot be written, too little memory, an interrupt: one sentence says what to do, and what is stored stays."
import os, pickle, resource, signal, subprocess, sys, tempfile, time
from pathlib import Path
import psutil, pytest, torch
from landscape_nb.data import load_data
from landscape_nb.optimizers import Recipe, Training, minimize
from landscape_nb.store import Store, StoreError, TooLarge, sweep

@pytest.fixture(scope='module')
def data(): return load_data('digits', 100)

def recipe(seed, **kw): return Recipe('mlp', 'digits', 'sgd', seed, n_train=100, width=.2, epochs=2, **kw)

def train(seed, root, data): return minimize(recipe(seed), Store(root), data=data, progress=False)

def files(root): return {p: p.read_bytes() for p in sorted(Path(root).rglob('*')) if p.is_file()}

def forked(run):
    "What `run` says in a process of its own: '' or a message"
    r, w = os.pipe()
    if not (pid := os.fork()):
        try: said = run() or ''
        except BaseException as e: said = f'{type(e).__name__}: {e}'
        os.write(w, said.encode()); os._exit(0)
    os.close(w)
    with open(r) as f: said = f.read()
    os.waitpid(pid, 0)
    return said

def test_a_full_disk(data, tmp_path):
    train(0, tmp_path, data)
    before = files(tmp_path)
    large = lambda: Store(tmp_path).remember(dict(kind='minimum', of='large'), lambda cp: (dict(x=torch.zeros(10_000)), {}))
    def run():
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))   # bytes of a file
        assert train(0, tmp_path, data).state     # what is there is read
        large()
    said = forked(run)
    assert said.startswith('StoreError') and str(tmp_path/'minimum') in said and 'another folder' in said
    assert files(tmp_path) == before            # nothing lost, no part of a file left
    assert len(large().tensors['x']) == 10_000  # the same call, with room

def test_a_full_disk_ends_a_sweep(data, tmp_path, monkeypatch):
    def full(fd): raise OSError(28, 'No space left on device')
    with monkeypatch.context() as m:
        m.setattr(os, 'fsync', full)
        with pytest.raises(StoreError, match='No space left on device, [0-9]+ MB free.*free some space') as e: sweep([(train, (s, tmp_path, data)) for s in (0, 1)])
    assert e.value.errno == 28 and not files(tmp_path)

def test_a_store_that_cannot_be_written_is_read(data):
    with tempfile.TemporaryDirectory() as top:
        root, computed = Path(top)/'store', []
        train(0, root, data)
        for p in (root, root/'minimum'): p.chmod(0o555)
        os.chmod(top, 0o755)
        before = files(root)
        def run():
            if os.getuid() == 0: os.setuid(65534)     # to root nothing is read-only
            assert train(0, root, data).train.error >= 0
            Store(root).remember(dict(kind='minimum', of='what is missing'), lambda cp: computed.append(1) or ({}, {}))
        said = forked(run)
        assert said.startswith('StoreError') and str(root/'minimum') in said and 'make it writable' in said
        assert files(root) == before
        for p in (root, root/'minimum'): p.chmod(0o755)

def test_too_little_memory_to_train(data, tmp_path):
    train(0, tmp_path, data)
    before = files(tmp_path)
    with pytest.raises(TooLarge, match='memory does not suffice to compute minimum .*out of memory.*fewer processes') as e: sweep([(large, (s, tmp_path, data)) for s in (0, 1)])
    assert files(tmp_path) == before
    assert str(pickle.loads(pickle.dumps(e.value))) == str(e.value)     # as it comes from another process

def large(seed, root, data):
    def epoch(*args): raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB')
    own, Training.epoch = Training.epoch, epoch
    try: return train(seed, root, data)
    finally: Training.epoch = own

INTERRUPTED = '''
import sys, time
from pathlib import Path
from landscape_nb.store import show_log, sweep
show_log()
def rest(i, at): (at/str(i)).touch(); time.sleep(0 if i == 0 else 100)
sweep([(rest, (i, Path(sys.argv[1]))) for i in range(4)], jobs=2, desc='rest')
'''

def test_an_interrupt_leaves_no_process(tmp_path):
    p = subprocess.Popen([sys.executable, '-c', INTERRUPTED, tmp_path], stderr=subprocess.PIPE, text=True, start_new_session=True)
    while len([*tmp_path.iterdir()]) < 3: assert p.poll() is None; time.sleep(.02)
    started = psutil.Process(p.pid).children(recursive=True)
    os.kill(p.pid, signal.SIGINT)               # not to its workers
    said = p.communicate(timeout=30)[1]
    assert len(started) >= 2 and not psutil.wait_procs(started, 5)[1]
    assert p.returncode and 'rest: interrupted after 1 of 4 tasks; the same call goes on' in said

@pytest.mark.parametrize('tasks', [1, 4])
def test_processes_end_with_the_one_that_started_them(tasks, tmp_path):
    "Killed, it can tell them nothing; one that has no task of its own ends as well."
    code = INTERRUPTED.replace('range(4)', f'range(1, {tasks} + 1)')
    p = subprocess.Popen([sys.executable, '-c', code, tmp_path], stderr=subprocess.DEVNULL, start_new_session=True)
    while len([*tmp_path.iterdir()]) < min(tasks, 2): assert p.poll() is None; time.sleep(.02)
    started = psutil.Process(p.pid).children(recursive=True)
    p.kill()
    p.wait()
    left = psutil.wait_procs(started, 10)[1]
    for o in left: o.kill()
    assert started and not left

KILLED = '''
import os, sys, torch
from landscape_nb.store import Store
def compute(checkpoint):
    import time
    saved = checkpoint.load()
    i = saved.record['i'] if saved else 0
    print('begun at', i, flush=True)
    while i < 60:
        time.sleep(.1)
        i += 1
        if checkpoint.due(): checkpoint.save({}, dict(i=i))
    return {}, dict(i=i)
print(Store(sys.argv[1]).remember(dict(kind='slow'), compute).record)
'''

@pytest.mark.long       # the clock decides: another heavy task beside it makes it fail
def test_a_computation_that_is_always_killed_soon_comes_to_its_end(tmp_path):
    "Checkpoints are due every 10 s; it takes 6 s and is killed after 3."
    for lives in range(1, 8):
        p = subprocess.Popen([sys.executable, '-c', KILLED, tmp_path], stdout=subprocess.PIPE)
        p.stdout.readline()              # it has begun
        try: p.wait(3)
        except subprocess.TimeoutExpired: p.kill()
        p.communicate()
        if not p.returncode: break
    assert not p.returncode and 2 <= lives <= 5
