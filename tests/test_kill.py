"""Processes that are killed at random moments lose nothing. The test does it a few times; this file as a program does it as often as it is told.

    python tests/test_kill.py [--kills 24] [--seed 0] [--out bench/results/kills.json]

Two processes work through one sweep in opposite orders, on one store. Each is killed (SIGKILL) after a random time and started again, until both come to the end; the sweep is
begun anew in a fresh store until there were enough kills. Each time the table, with a digest of every weight, must equal the unbroken one, and every recipe must have been trained to its end once.
"""
import argparse, hashlib, json, os, random, signal, subprocess, sys, tempfile, time
from pathlib import Path
import pytest

def recipes():
    from landscape_nb.optimizers import Recipe
    toy = dict(dataset='digits', n_train=400, batch=50, epochs=8, lr=.03)
    return [Recipe('mlp', algorithm=a, seed=s, width=.2, random_epochs=6, inner=3, **toy) for s in (0, 1) for a in ('rsgd', 'adv', 'sam', 'esgd', 'swa')] + \
           [Recipe('lenet', algorithm='rsgd', seed=0, replicas=2, augment=True, **toy), Recipe('mlp', algorithm='sgd', seed=0, width=.2, **toy | dict(lr=1e9))]

def work(root, backwards):
    "One process: the whole sweep, and a measurement of each minimum"
    import torch
    from landscape_nb.data import load_data
    from landscape_nb.optimizers import minimize
    from landscape_nb.store import Store
    torch.set_num_threads(1)
    data, store, rows = load_data('digits', 400), Store(root, checkpoint_every=.02), {}
    def norm(m):
        def compute(checkpoint):
            with open(Path(root)/'finished', 'a') as f: f.write(f'{m.recipe.arch} {m.recipe.label} {m.recipe.seed}\n')
            return {}, dict(norm=sum(v.double().norm().item() for v in m.state.values()))
        return compute
    todo = recipes()
    for r in reversed(todo) if backwards else todo:
        m = minimize(r, store, data=data, progress=False)
        weights = hashlib.sha256(b''.join(v.numpy().tobytes() for v in m.state.values())).hexdigest()
        rows[f'{r.arch} {r.label} {r.seed}'] = repr([m.train, m.test, m.log, m.reason, weights, store.remember(dict(kind='norm', weights=weights), norm(m)).record])
    (Path(root)/f'table-{backwards:d}.json').write_text(json.dumps(rows, sort_keys=True))

def start(root, backwards):
    "Fork a process that works; its parent has imported everything and computed nothing"
    pid = os.fork()
    if pid: return pid
    try:
        quiet = os.open(os.devnull, os.O_WRONLY); os.dup2(quiet, 2)
        work(root, backwards); os._exit(0)
    finally: os._exit(1)

def unbroken(root):
    assert os.waitpid(start(root, False), 0)[1] == 0
    return (Path(root)/'table-0.json').read_text()

def killed(root, rng, longest, most):
    "Two processes on one store, killed at random moments, `most` times, and started again until both are through -> number of kills"
    running, kills, end = {b: (start(root, b), time.monotonic() + rng.uniform(0, longest)) for b in (False, True)}, 0, {}
    while len(end) < 2:
        for b, (pid, until) in list(running.items()):
            if b in end: continue
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done and kills < most and time.monotonic() > until: os.kill(pid, signal.SIGKILL); done, status = os.waitpid(pid, 0)
            if not done: continue
            if os.WIFSIGNALED(status): kills += 1; running[b] = start(root, b), time.monotonic() + rng.uniform(0, longest)
            else: end[b] = os.WEXITSTATUS(status)
        time.sleep(.002)
    assert end == {False: 0, True: 0}, end
    return kills

def campaign(kills, seed=0, longest=2.):
    "-> what happened; AssertionError when anything was lost"
    import landscape_nb.optimizers, pandas, sklearn.datasets, torch
    torch.set_num_threads(1)
    rng, happened, sweeps, t0 = random.Random(seed), 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        want = unbroken(f'{folder}/whole')
        while happened < kills:
            root = f'{folder}/{sweeps}'
            happened += killed(root, rng, longest, min(12, kills - happened)); sweeps += 1
            for b in (0, 1): assert (Path(root)/f'table-{b}.json').read_text() == want, f'sweep {sweeps}: the table differs'
            left = [p.name for p in Path(root).rglob('*') if p.suffix in ('.corrupt', '.checkpoint')]
            assert not left, left
    return dict(kills=happened, sweeps=sweeps, recipes=len(recipes()), processes=2, equal=True, seconds=round(time.monotonic() - t0, 1))

@pytest.mark.parametrize('kills', [3, pytest.param(24, marks=pytest.mark.long)])
def test_killed_at_random_moments(kills, root):
    r = subprocess.run([sys.executable, __file__, '--kills', str(kills)], capture_output=True, text=True, cwd=root, timeout=900)
    assert r.returncode == 0, r.stderr[-3000:]
    assert json.loads(r.stdout)['kills'] >= kills

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=24); parser.add_argument('--seed', type=int, default=0); parser.add_argument('--out')
    o = parser.parse_args()
    found = campaign(o.kills, o.seed)
    if o.out:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'bench'))
        from kept import keep
        keep(o.out, [dict(name='kills', **found)])
    print(json.dumps(found))
