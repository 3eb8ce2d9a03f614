"The study as one command: what is passed stands in the results, mistakes fail early, a killed run goes on where it was."
import csv, fcntl, json, os, random, signal, subprocess, sys, time
from pathlib import Path
import psutil, pytest

PASSED = dict(arch='mlp', dataset='digits', preset='smoke')

def command(at, **params):
    "The papermill command of a run that keeps everything that it writes under `at`."
    at.mkdir(exist_ok=True)
    flags = [x for k, v in (dict(out=str(at/'out')) | params).items() for x in ('-p', k, str(v))]
    cmd = [str(Path(sys.executable).parent/'papermill'), 'nbs/reproduce.ipynb', str(at/'out.ipynb'), '-k', 'python3', '--no-progress-bar', '--log-output', *flags]
    return dict(args=cmd, env=os.environ | {'LANDSCAPE_NB_HOME': str(at/'home')})

def run(at, timeout=600, **params):
    return subprocess.run(**command(at, **params), capture_output=True, text=True, timeout=timeout)

def last(r, lines=25): return '\n'.join(r.stderr.strip().splitlines()[-lines:])

def tables(at):
    "Every table of a run as strings, the seconds that a result took left out."
    found = {}
    for f in sorted((at/'out').rglob('*.csv')):
        with open(f, newline='') as h: rows = list(csv.DictReader(h))
        found[str(f.relative_to(at))] = [{k: v for k, v in r.items() if k != 'seconds'} for r in rows]
    return found

def stored(at): return sum(1 for _ in at.rglob('*.safetensors'))

@pytest.fixture(scope='session')
def whole(tmp_path_factory):
    "An unbroken run, made once for all workers of pytest."
    base = tmp_path_factory.getbasetemp()
    at = (base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base)/'whole'
    with open(f'{at}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not at.exists():
            r = run(at, **PASSED, jobs=1)          # those that are stopped use all cores: the tables do not depend on it
            assert r.returncode == 0, last(r)
    return at

def test_writes_every_kind_of_result(whole):
    files = [f for f in (whole/'out').rglob('*') if f.is_file()]
    assert {'claims.csv', 'environment.json'} <= {f.name for f in files}
    assert {'.csv', '.png', '.pdf', '.json'} <= {f.suffix for f in files}
    frames = {'minima', 'flatness', 'distances', 'paths', 'barriers', 'bends', 'bend_paths'}
    assert frames <= {f.stem for f in files if f.suffix == '.csv'}
    assert all(f.stat().st_size for f in files)

def test_what_was_passed_stands_in_the_results(whole):
    path, = (whole/'out').rglob('environment.json')
    parameters = json.loads(path.read_text())['parameters']
    assert {k: parameters[k] for k in PASSED} == PASSED

def test_each_claim_has_a_verdict(whole):
    path, = (whole/'out').rglob('claims.csv')
    with open(path, newline='') as h: claims = list(csv.DictReader(h))
    assert claims and {c['verdict'] for c in claims} <= {'holds', 'does not hold', 'equivalent', 'saturated', 'undecided'}

def stop(p, how):
    "Kill all of a run, or interrupt its kernel alone; its processes must be gone"
    all = psutil.Process(p.pid).children(recursive=True)     # the kernel has a process group of its own
    if how == 'kill':
        for o in [*all, p]: o.kill()
    else: next(o for o in all if 'ipykernel_launcher' in ' '.join(o.cmdline())).send_signal(signal.SIGINT)
    p.wait(60)
    assert not psutil.wait_procs(all, 10)[1]

@pytest.mark.long
def test_stopped_and_continued_equals_unbroken(whole, tmp_path):
    rng, finished, all = random.Random(0), {}, stored(whole)
    # the first two fall amid the training: between two cells, and in the hooks that display figures, IPython drops an interrupt
    for how, wanted in ('interrupt', 1), ('interrupt', .1*all), ('kill', .4*all):
        p = subprocess.Popen(**command(tmp_path, **PASSED), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + 600
        while stored(tmp_path) < wanted and p.poll() is None and time.monotonic() < end: time.sleep(.02)
        time.sleep(rng.uniform(0, .3))
        stop(p, how)
        half = stored(tmp_path)
        assert wanted <= half < all, f'stopped with {half} of {all} results'
        finished |= {f: f.stat().st_mtime_ns for f in (tmp_path/'out'/'store').rglob('*.json')}
    r = run(tmp_path, **PASSED)
    assert r.returncode == 0, last(r)
    assert tables(tmp_path) == tables(whole)
    assert {f: f.stat().st_mtime_ns for f in finished} == finished, 'something was computed twice'
    assert sum(1 for _ in (tmp_path/'out'/'store').rglob('*.json')) == stored(whole)

def lines_of(p, limit):
    "What a process writes, line by line as it comes, with the seconds that it took."
    begun = time.monotonic()
    os.set_blocking(p.stderr.fileno(), False)
    rest = ''
    while p.poll() is None and time.monotonic() - begun < limit:
        rest += (p.stderr.read() or b'').decode()
        *lines, rest = rest.replace('\r', '\n').split('\n')
        yield from lines
        time.sleep(.1)
    yield from (rest + (p.stderr.read() or b'').decode()).replace('\r', '\n').split('\n')

def test_a_plain_call_shows_progress_and_how_to_go_on(tmp_path):
    "papermill keeps what the kernel says for the notebook; the terminal gets it all the same, and an interrupt is answered."
    told = command(tmp_path, **PASSED, jobs=1)
    told['args'] = [a for a in told['args'] if a not in ('--log-output', '--no-progress-bar')]
    del told['env']['PYTEST_CURRENT_TEST']       # with it a kernel does not take stderr away
    p = subprocess.Popen(**told, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    kernel, said = [], []
    for line in lines_of(p, 300):
        said.append(line)
        if line.startswith('minima 0/12 ') and not kernel:
            kernel = psutil.Process(p.pid).children(recursive=True)
            p.send_signal(signal.SIGINT)            # as Ctrl-C: papermill gets it, the kernel does not
    first = next(i for i, line in enumerate(said) if line.startswith('minima 0/12 '))
    assert any(line.startswith('in the store: minima 0 of 12') for line in said[:first]), said
    assert any('interrupted after' in line and 'the same call goes on' in line for line in said[first:]), said
    assert p.returncode and not psutil.wait_procs(kernel, 10)[1]

@pytest.mark.parametrize('params, listed', [                       # what else is impossible: test_errors
    (dict(arch='resnet19'), ['resnet19', 'mlp', 'lenet', 'resnet18']),
    pytest.param(dict(seeds='many'), ['seeds', 'many'], marks=pytest.mark.long)], ids=lambda o: '-'.join(f'{k}-{v}' for k, v in o.items()) if isinstance(o, dict) else '')
def test_an_impossible_parameter_fails_before_any_training(params, listed, tmp_path):
    r = run(tmp_path, **PASSED | params)
    assert r.returncode and not stored(tmp_path) and not list(tmp_path.rglob('claims.csv'))
    error = r.stderr.strip().splitlines()[-1]  # one sentence
    assert all(word in error for word in listed), last(r)
