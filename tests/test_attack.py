"What an enemy or an accident can do to a store, a weight file, a data set, a report or a command line: nothing loads wrong, nothing hangs, one sentence says what it is."
import json, os, random, subprocess, sys, warnings
from dataclasses import replace
from pathlib import Path
import numpy as np, pytest, torch
from torch import nn
from landscape_nb.data import DataError, load_data
from landscape_nb.evaluate import Evaluator
from landscape_nb.ground.weights import load_state
from landscape_nb.models import make_model
from landscape_nb.optimizers import Recipe, RecipeError, minimize
from landscape_nb.search.group import SymmetryError
from landscape_nb.store import Store, StoreError
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
    "The result, computed again where it cannot be trusted"
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return store.remember(SPEC, compute)

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
    assert is_right(quietly(store)) and store.has(SPEC)

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

# the test set belongs to what a minimum is kept under, and what is no image or no label is refused at the door

def recipe(**kw): return Recipe('mlp', 'digits', 'sgd', 0, **dict(n_train=100, width=.2, epochs=2) | kw)

def test_mended_test_labels_are_scored_anew(tmp_path, monkeypatch):
    import landscape_nb.data as module
    read, store = module._READ['digits'], Store(tmp_path)
    def damaged(name, root):
        x, y, x_test, y_test = read(name, root)
        return x, y, x_test, (y_test + 5) % 10
    monkeypatch.setitem(module._READ, 'digits', damaged)
    wrong = minimize(recipe(), store, data=load_data('digits', 100), progress=False)
    monkeypatch.setitem(module._READ, 'digits', read)
    mended = minimize(recipe(), store, data=load_data('digits', 100), progress=False)
    fresh = minimize(recipe(), Store(tmp_path/'fresh'), data=load_data('digits', 100), progress=False)
    assert mended.test == fresh.test and mended.test != wrong.test

@pytest.mark.parametrize('label', [255, 10, 200, -1])
@pytest.mark.parametrize('part', ['training', 'test'])
def test_labels_that_no_class_has_do_not_load(label, part, monkeypatch):
    import landscape_nb.data as module
    read = module._READ['digits']
    def damaged(name, root):
        arrays = [a.copy() for a in read(name, root)]
        arrays[1 if part == 'training' else 3][7] = label
        return arrays
    monkeypatch.setitem(module._READ, 'digits', damaged)
    with pytest.raises(DataError, match=f'digits: {part} labels: wanted 0 to 9, got {label};'): load_data('digits')

@pytest.mark.parametrize('change, message', [
    (lambda d: dict(x_train=(d.x_train*9).to(torch.uint8)), 'training images: wanted float32 .* got torch.uint8'),
    (lambda d: dict(x_test=d.x_test.double()), 'test images: wanted float32 .* got torch.float64'),
    (lambda d: dict(x_train=d.x_train.flatten(1)), r'training images: .* got torch.float32 \[100, 64\]'),
    (lambda d: dict(x_train=d.x_train[:0], y_train=d.y_train[:0]), 'at least one'),
    (lambda d: dict(y_train=d.y_train[:50]), r'training labels: wanted int64 \[100\], one for each image; got torch.int64 \[50\]'),
    (lambda d: dict(y_test=d.y_test.float()), 'test labels: wanted int64'),
    (lambda d: dict(y_train=d.y_train + 1), 'training labels: wanted 0 to 9, got 10')])
def test_no_images_or_no_labels_are_no_data(change, message):
    data = load_data('digits', 100)
    with pytest.raises(DataError, match=message): replace(data, **change(data))

def test_images_and_states_that_an_evaluator_cannot_take():
    data = load_data('digits', 50)
    x, y = data.test
    net = make_model('mlp', size=8, width=.1)
    state = state_of(net)
    with pytest.raises(ValueError, match='data: .* cannot take torch.uint8 images'): Evaluator(net, (x.to(torch.uint8), y))(state)
    assert Evaluator(net, (x.double(), y))(state) == Evaluator(net, (x, y))(state)
    for whole in ({k: v.long() for k, v in state.items()}, state | {'fc1.weight': state['fc1.weight'].long()}):
        with pytest.raises(SymmetryError, match=r'fc1.weight: wanted floating numbers, got torch.int64'): Evaluator(net, data.test)(whole)

@pytest.mark.parametrize('how', [dict(n_train=1), dict(n_train=10, batch=1)], ids=['one image', 'one at a time'])
def test_one_image_and_batch_norm(how, tmp_path):
    "One number has no variance; one image of many pixels has one."
    data = load_data('digits', how['n_train'])
    small = Recipe('resnet18', 'digits', 'sgd', 0, **dict(width=.0625, epochs=1) | how)     # its last maps have one pixel
    with pytest.raises(RecipeError, match='batch: wanted at least 2 images'): minimize(small, Store(tmp_path), data=data, progress=False)
    assert minimize(recipe(**dict(epochs=1) | how), Store(tmp_path), data=data, progress=False).state

# weight files

def endless(path):
    d = {}
    d['model'] = d
    torch.save(d, path)

def in_turns(path):
    a, b = {}, {}
    a['state_dict'], b['net'] = b, a
    torch.save(a, path)

def wrapped_deep(path):
    d = {'w': torch.ones(2)}
    for _ in range(50): d = {'model': d}
    torch.save(d, path)

def one_for_many(path): torch.save({'w': torch.zeros(1).expand(50_000_000)}, path)
def one_for_all(path):
    v = torch.zeros(500_000)
    torch.save({f'w{i}': v for i in range(1000)}, path)
def packed(path):
    with open(path, 'wb') as f: np.savez_compressed(f, w=np.zeros(50_000_000))
def packed_torch(path):
    import zipfile
    torch.save({'w': torch.zeros(50_000_000)}, path)
    with zipfile.ZipFile(path) as z: parts = {n: z.read(n) for n in z.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
        for n, data in parts.items(): z.writestr(n, data)
def lying_header(path):
    import io, zipfile
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, dict(shape=(10**12,), fortran_order=False, descr='<f8'))
    with zipfile.ZipFile(path, 'w') as z: z.writestr('w.npy', head.getvalue() + b'\0'*64)
def endless_name(path): torch.save({'a.'*200_000 + 'w': torch.ones(2)}, path)
def endless_front(path): torch.save({'module.'*200_000 + 'w': torch.ones(2)}, path)
def sparse(path): torch.save({'w': torch.eye(4).to_sparse()}, path)
def rows(path): torch.save({'w': torch.eye(4).to_sparse_csr()}, path)
def meta(path): torch.save({'w': torch.empty(4, device='meta')}, path)
def quantized(path): torch.save({'w': torch.quantize_per_tensor(torch.ones(4), .1, 0, torch.qint8)}, path)
def ragged(path): torch.save({'w': torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}, path)
def tuples(path):
    key = ()
    for _ in range(400): key = (key,)
    torch.save({key: torch.ones(2)}, path)
def lists(path):
    d = []
    d.append(d)
    torch.save(d, path)
def deep_json(path):
    head = b'{"a":' + b'['*200_000 + b']'*200_000 + b'}'
    path.write_bytes(len(head).to_bytes(8, 'little') + head)
def odd_names(path):
    from safetensors.torch import save
    path.write_bytes(save({'w': torch.ones(2)}, {'names': '[["w"], {"w": 1}]'}))

HOSTILE = [endless, in_turns, wrapped_deep, one_for_many, one_for_all, packed, packed_torch, lying_header, endless_name, endless_front,
           sparse, rows, meta, quantized, ragged, tuples, lists, deep_json]

READ = '''
import json, resource, sys
from pathlib import Path
from torch import nn
from landscape_nb.ground.weights import StateError, load_state
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e3      # MB
for file in sorted(Path(sys.argv[1]).iterdir()):
    for model in (nn.Linear(4, 4), None):
        before = peak()
        print(file.name, end=' ', flush=True)
        try: said = f'loaded {[*load_state(file, model)]}'
        except StateError as e: said = str(e)
        print(json.dumps([said, peak() - before]), flush=True)
'''

@pytest.mark.filterwarnings('ignore')
def test_hostile_weight_files_are_refused_in_one_sentence(tmp_path):
    "In a process of its own, which neither hangs, nor takes the memory that it is asked for, nor ends in an error of something else."
    for make in HOSTILE: make(tmp_path/make.__name__)
    r = subprocess.run([sys.executable, '-c', READ, tmp_path], capture_output=True, text=True, timeout=120)
    lines = r.stdout.splitlines()
    assert len(lines) == 2*len(HOSTILE) and not r.returncode, (lines[-1:], r.stderr[-500:])
    for line in lines:
        name, _, found = line.partition(' ')
        said, mb = json.loads(found)
        assert said.startswith(f'{tmp_path/name}: ') and len(said) < 700, (name, said)
        assert mb < 60, (name, mb)

def test_odd_but_honest_weights_load(tmp_path):
    "Big-endian arrays, compressed ones, an order of names that is none."
    net = nn.Linear(3, 2)
    state = state_of(net)
    odd_names(tmp_path/'odd')
    assert [*load_state(tmp_path/'odd')] == ['w']
    swapped = {k: v.numpy().astype('>f4') for k, v in state.items()}
    for source in (swapped, tmp_path/'swapped.npz', tmp_path/'packed.npz'):
        if source == tmp_path/'swapped.npz': np.savez(source, **swapped)
        if source == tmp_path/'packed.npz': np.savez_compressed(source, **{k: v.numpy() for k, v in state.items()})
        for model in (net, None):
            found = load_state(source, model)
            assert all(torch.equal(found[k], v) for k, v in state.items())

# a report

SCRIPT = '<script>alert(1)</script>'

def run_folder(out, change=lambda claims: None):
    "A finished run without a measurement, whose claims were changed afterwards"
    from landscape_nb.report import claims_table, csv_bytes, save_report
    import pandas as pd
    claims = claims_table({}).astype(object)
    claims.loc[0, ['estimate', 'lo', 'hi', 'n', 'verdict', 'confounded_with']] = .05, .02, .08, 5, 'holds', 'sgd-wd'
    save_report(out, dict(minima=pd.DataFrame(dict(label=['sgd'], seed=[0]))), {}, claims, dict(parameters=dict(arch='mlp', dataset='digits', preset='quick')))
    change(claims)
    (out/'claims.csv').write_bytes(csv_bytes(claims))
    return claims

def test_no_cell_of_a_report_is_markup(tmp_path):
    "A script in any cell of a received run's claims, minima or parameters is shown, or refused as no number; it never runs."
    from landscape_nb.studies.pages import report_html
    for column in run_folder(tmp_path/'whole').columns:
        out = tmp_path/column
        def spoil(claims): claims.loc[0, column] = SCRIPT
        run_folder(out, spoil)
        if column in ('threshold', 'estimate', 'lo', 'hi', 'n', 'verdict'):
            with pytest.raises(ValueError, match=f'claims.csv: {column}: wanted .* got .<script>'): report_html(out)
        else: assert SCRIPT not in report_html(out).read_text(), column
    (tmp_path/'whole'/'tables'/'minima.csv').write_text(f'label,{SCRIPT}\n{SCRIPT},0\n')
    (tmp_path/'whole'/'environment.json').write_text(json.dumps(dict(parameters=dict(arch=SCRIPT, dataset=SCRIPT, preset=SCRIPT))))
    assert SCRIPT not in report_html(tmp_path/'whole').read_text()

def test_the_cells_of_a_claim_are_escaped_one_by_one():
    from types import SimpleNamespace
    from landscape_nb.studies.pages import _claim
    row = SimpleNamespace(statement=SCRIPT, statistic=SCRIPT, direction=SCRIPT, threshold=0., estimate=.1, lo=.05, hi=.2, n=SCRIPT, verdict='holds', confounded_with=SCRIPT, note=SCRIPT)
    assert not any('<script' in cell for cell in _claim(row))

def test_a_full_disk_leaves_the_report_of_before(tmp_path, monkeypatch):
    "Whichever file is the one that does not fit; nothing is left half written."
    from landscape_nb.report import save_report
    import pandas as pd
    frames = {k: pd.DataFrame(dict(x=[1.5])) for k in ('minima', 'flatness', 'barriers')}
    save_report(tmp_path, frames, {}, frames['minima'], dict(run=1))
    before, sync = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}, os.fsync
    newer = {k: f + 1 for k, f in frames.items()}
    for last in range(len(before)):
        calls = []
        def full(fd):
            calls.append(fd)
            if len(calls) > last: raise OSError(28, 'No space left on device')
            sync(fd)
        with monkeypatch.context() as m:
            m.setattr(os, 'fsync', full)
            with pytest.raises(StoreError, match=f'{tmp_path}.* cannot be written .No space left on device.*another folder'):
                save_report(tmp_path, newer, {}, newer['minima'], dict(run=2))
        assert {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()} == before
    save_report(tmp_path, newer, {}, newer['minima'], dict(run=2))
    assert {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()} != before

def test_a_report_into_a_folder_that_is_read_only(open_path):
    from landscape_nb.report import save_report
    import pandas as pd
    frame = pd.DataFrame(dict(x=[1.5]))
    out = save_report(open_path/'run', dict(minima=frame), {}, frame, {})
    for p in (out, out/'tables'): p.chmod(0o555)
    said = unprivileged(out, lambda: save_report(out, dict(minima=frame), {}, frame, {}) and '')
    assert said.startswith('StoreError') and f'{out/"tables"} cannot be written (Permission denied): make it writable' in said
    for p in (out, out/'tables'): p.chmod(0o755)
