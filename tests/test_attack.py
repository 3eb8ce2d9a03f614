"What an enemy or an accident can do to a store, a weight file, a data set, a report or a command line: nothing loads wrong, nothing hangs, one sentence says what it is."
import json, os, random, shutil, signal, subprocess, sys, time, warnings
from dataclasses import replace
from pathlib import Path
import numpy as np, pytest, torch
from torch import nn
from landscape_nb.data import Data, DataError, load_data
from landscape_nb.evaluate import Evaluator
from landscape_nb.ground.weights import StateError, load_state, save_state
from landscape_nb.models import make_model
from landscape_nb.optimizers import Recipe, minimize, minimum_spec
from landscape_nb.search.group import SymmetryError
from landscape_nb.store import Checkpoint, Store, StoreError
from landscape_nb.symmetries import state_of

SPEC = dict(kind='flatness', recipe=dict(arch='mlp', lr=.1), sigmas=[.1, .2])
RECORD = dict(energies=[.1234567890123, .75, 1e-7, None], n=2500, accepted=True, note='sgd é', log=[dict(epoch=e, loss=1/e) for e in range(1, 9)])

def compute(checkpoint): return dict(w=torch.arange(50.), b=torch.ones(3)), RECORD

def entry(root):
    "A store with one result -> (store, its JSON, its tensors)"
    store = Store(root)
    store.remember(SPEC, compute)
    path = store.path(SPEC)
    return store, path, path.with_suffix('.safetensors')

def quietly(store):
    "(whether the result was computed again, the result)"
    calls = []
    def again(checkpoint):
        calls.append(1)
        return compute(checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return bool(calls), store.remember(SPEC, again)

def is_right(result):
    tensors, record = compute(None)
    same = all(torch.equal(result.tensors[k], v) for k, v in tensors.items())
    return same and [*result.tensors] == [*tensors] and json.dumps(result.record) == json.dumps(record)

@pytest.mark.parametrize('which', ['entry', 'tensors'])
def test_no_flipped_bit_loads_wrong(which, tmp_path):
    "Anywhere in the JSON of an entry: spec, record, provenance, checksums; and anywhere in its tensors."
    store, *files = entry(tmp_path)
    file = files[which == 'tensors']
    whole, rng, set_aside = file.read_bytes(), random.Random(0), 0
    provenance = store.provenance(SPEC)
    for _ in range(400):
        at, bit = rng.randrange(len(whole)), rng.randrange(8)
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at+1:])
        found = store._read(SPEC)
        assert isinstance(found, str) or is_right(found), (at, bit)
        assert which == 'tensors' or store.provenance(SPEC) in (None, provenance), (at, bit)
        set_aside += isinstance(found, str)
    assert set_aside > 300         # the rest is white space and the like, which changes nothing
    file.write_bytes(whole[:len(whole)//2] + b'\xff' + whole[len(whole)//2+1:])
    assert is_right(quietly(store)[1]) and store.has(SPEC)

def spoil_record(path): path.write_text(path.read_text().replace('"record": {', '"record": null, "other": {'))
def spoil_twice(path): path.write_text(path.read_text().replace('"n": 2500', '"n": 2501, "n": 2500'))
def spoil_number(path): path.write_text(path.read_text().replace('0.75', '0.25'))
def spoil_depth(path): path.write_text('['*100_000 + ']'*100_000)
def spoil_folder(path): path.unlink(); path.mkdir(); (path/'inside').touch()
def spoil_link(path): path.unlink(); path.symlink_to(path.name)
def spoil_bytes(path): path.write_bytes(b'\xff\xfe')
def spoil_list(path): path.write_text('[1]')
def spoil_age(path):
    doc = json.loads(path.read_text())
    doc.pop('seal', None)
    path.write_text(json.dumps(doc))

SPOILS = [spoil_record, spoil_twice, spoil_number, spoil_depth, spoil_folder, spoil_link, spoil_bytes, spoil_list, spoil_age]

@pytest.mark.parametrize('spoil', SPOILS, ids=lambda f: f.__name__.removeprefix('spoil_'))
def test_damage_of_an_entry_is_set_aside(spoil, tmp_path):
    store, path, _ = entry(tmp_path)
    spoil(path)
    assert not store.has(SPEC) and store.provenance(SPEC) is None
    calls = []
    with pytest.warns(UserWarning, match=f'{path.name} is set aside as .*corrupt and computed again'):
        found = store.remember(SPEC, lambda checkpoint: calls.append(1) or compute(checkpoint))
    assert calls and is_right(found) and store.has(SPEC) and os.path.lexists(f'{path}.corrupt')

@pytest.mark.parametrize('spoil', [spoil_folder, spoil_link, spoil_bytes], ids=lambda f: f.__name__.removeprefix('spoil_'))
@pytest.mark.parametrize('which', ['tensors', 'checkpoint'])
def test_damage_of_its_other_files_is_set_aside(which, spoil, tmp_path):
    store, path, tensors = entry(tmp_path)
    if which == 'checkpoint':
        path.unlink()
        tensors = path.with_suffix('.checkpoint')
        tensors.touch()
    spoil(tensors)
    def again(checkpoint):
        checkpoint.load()
        checkpoint.save({}, {})
        return compute(checkpoint)
    with pytest.warns(UserWarning, match='set aside'): found = store.remember(SPEC, again)
    assert is_right(found) and store.has(SPEC)

def test_damage_twice_keeps_both(tmp_path):
    store, path, _ = entry(tmp_path)
    for _ in range(3):
        spoil_folder(path)
        quietly(store)
    assert len([*path.parent.glob(f'{path.name}*.corrupt')]) == 3 and store.has(SPEC)

def unprivileged(path, run):
    "What `run` says in a process that the system refuses something: '' or a message"
    r, w = os.pipe()
    if not (pid := os.fork()):
        try:
            if os.getuid() == 0: os.setuid(65534)
            said = run() or ''
        except BaseException as e: said = f'{type(e).__name__}: {e}'
        os.write(w, said.encode())
        os._exit(0)
    os.close(w)
    with open(r) as f: said = f.read()
    os.waitpid(pid, 0)
    return said

@pytest.fixture
def open_path():
    "A folder that every user may enter"
    import tempfile
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o777)
        yield Path(top)

def test_a_file_that_may_not_be_read_stays_and_is_named(open_path):
    store, path, tensors = entry(open_path/'store')
    for p in (store.root, path.parent): p.chmod(0o777)
    for file in (path, tensors):
        whole = file.read_bytes()
        file.chmod(0)
        for ask in (store.has, lambda spec: store.remember(spec, compute)):
            said = unprivileged(file, lambda: ask(SPEC) and '')
            assert said.startswith('StoreError') and f'{file} cannot be read (Permission denied)' in said and '\n' not in said
        file.chmod(0o644)
        assert file.read_bytes() == whole
    weights = open_path/'weights.pt'
    torch.save(nn.Linear(2, 2).state_dict(), weights)
    weights.chmod(0)
    said = unprivileged(weights, lambda: load_state(weights) and '')
    assert said.startswith('StateError') and f'{weights}: cannot be read (Permission denied)' in said

def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path/'flatness').write_text('')
    assert not Store(tmp_path).has(SPEC)
    with pytest.raises(StoreError, match=f'{tmp_path/"flatness"} cannot be written'): Store(tmp_path).remember(SPEC, compute)
