"""`make reproduce` and `make results`: the study with the parameters of nbs/reproduce.ipynb, given as NAME=value.

`python tools/reproduce.py ARCH=resnet18 PRESET=paper` runs it by papermill; with `keep` in front it copies the claims,
all tables (packed), figures, provenance and the executed notebook of the last such run to nbs/results/;
with `show` it puts the outputs of a small run into the page itself. Under make the
parameters come through the environment: `GIVEN` names those that stood on its command line."""
import ast, base64, gzip, io, json, os, shutil, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT/'nbs/reproduce.ipynb'
OURS = dict(preset='quick')                      # where the default of `make` is not that of the page
FIGURES = 'paths flatness barriers across claims bend'.split()
PICTURE, PAGE_SIZE = 60_000, 1_500_000           # bytes of a kept figure, and of the executed notebook

def defaults():
    "The parameters of the page and their values there."
    cells = json.loads(PAGE.read_text(encoding='utf-8'))['cells']
    cell, = [c for c in cells if 'parameters' in c['metadata'].get('tags', [])]
    return {ast.unparse(n.targets[0]): ast.literal_eval(n.value) for n in ast.parse(''.join(cell['source'])).body}

def given(words):
    "The parameters that were given (an empty one is not), as strings by their names; SystemExit names what does not exist."
    known, found = defaults(), {}
    for word in words:
        name, _, value = word.partition('=')
        if name == 'PYTHON': continue            # of the environment, not of the study
        if name.lower() not in known or name != name.upper():
            raise SystemExit(f'there is no parameter {name}; there are {" ".join(map(str.upper, known))} PYTHON')
        if value: found[name.lower()] = value
    return found

def under_make():
    "NAME=value for what was given to make."
    names = os.environ.get('GIVEN', '') if 'MAKELEVEL' in os.environ else ''
    return [f'{name}={os.environ.get(name, "")}' for name in names.split()]

def name_of(run): return f'{run["arch"]}-{run["dataset"]}-{run["preset"]}'

def planned(words):
    "(what is passed to the page, the folder of the run)"
    passed = OURS | given(words)
    run = defaults() | passed
    passed.setdefault('out', f'out/{name_of(run)}')
    return passed, ROOT/passed['out']

def command(words):
    "The arguments of papermill: strings as they are, numbers as numbers."
    passed, out = planned(words)
    page = defaults()
    flags = [part for k, v in passed.items() for part in ('-r' if isinstance(page[k], str) else '-p', k, v)]
    return [str(PAGE), str(out/'reproduce.ipynb'), '-k', 'python3', '--no-progress-bar', '--log-output', *flags]

def run(words):
    "The study once -> exit status; an interrupt ends it with one line."
    from click.exceptions import Abort
    from papermill.__main__ import papermill
    _, out = planned(words)
    out.mkdir(parents=True, exist_ok=True)
    flags = command(words)
    print('papermill', *flags, flush=True)
    try: papermill.main(flags, standalone_mode=False)
    except (Abort, KeyboardInterrupt):
        print(f'stopped: the same command goes on where it was ({out} holds what is done)', file=sys.stderr)
        return 130

def more_networks(out):
    "How many networks of a class a finished study wants next, because a claim of the paper is open; None: it has ended."
    import pandas as pd
    from landscape_nb.studies.verdicts import next_look
    claims = pd.read_csv(out/'claims.csv')
    seeds = json.loads((out/'environment.json').read_text())['parameters']['seeds']
    return next_look(claims[claims.group == 'paper'], len(seeds))

def reproduce(words):
    "Run the study; the preset standard adds networks until every claim of the paper is decided, unless SEEDS says how many."
    passed, out = planned(words)
    asked = defaults() | passed
    if asked['dataset'] == 'fashion_mnist': subprocess.run(['bash', ROOT/'tools/get_data.sh'], check=True)
    stopped = run(words)
    while not stopped and asked['preset'] == 'standard' and asked['seeds'] is None:
        seeds = more_networks(out)
        if seeds is None: break
        print(f'claims of the paper are open: on with {seeds} networks of a class', flush=True)
        stopped = run([*words, f'SEEDS={seeds}'])
    return stopped

def packed(data):
    "Compressed bytes that depend on nothing but the data."
    return gzip.compress(data, mtime=0)

def smaller(data, limit=PICTURE):
    "A PNG of at most so many bytes: fewer colours, which keeps rare ones apart, then fewer pixels."
    from PIL import Image
    image = Image.open(io.BytesIO(data)).convert('RGB')
    while len(data) > limit:
        out = io.BytesIO()
        image.quantize(128, Image.Quantize.MAXCOVERAGE).save(out, 'PNG', optimize=True)
        data = out.getvalue()
        image = image.resize([round(.9*side) for side in image.size], Image.Resampling.LANCZOS)
    return data

def executed(page, name):
    "An executed notebook, without the folder that it was run in: that of a run called `name`."
    text = page.read_text(encoding='utf-8').replace(str(page.parent), f'out/{name}')
    return json.loads(text.replace(f'{ROOT}/', ''))

def keep_page(page, to):
    "The executed notebook; one that is too large is named and left out."
    nb = executed(page, to.name)
    for of in [nb, *nb['cells']]: of['metadata'].pop('papermill', None)
    data = json.dumps(nb, ensure_ascii=False, indent=1).encode() + b'\n'
    if len(data) > PAGE_SIZE: return print(f'{page} has {len(data)/1e6:.2f} MB, more than {PAGE_SIZE/1e6:g}: left out')
    (to/page.name).write_bytes(data)
    from nbdev.clean import nbdev_clean
    nbdev_clean(str(to/page.name))

def shrink(nb):
    "Fewer bytes in the figures of an executed notebook."
    for cell in nb['cells']:
        for output in cell.get('outputs', []):
            found = output.get('data', {})
            if 'image/png' not in found: continue
            picture = base64.b64decode(found['image/png'])
            found['image/png'] = base64.b64encode(smaller(picture)).decode()

def show(words):
    "Put the outputs of a small run into the page itself, whose parameters stay as they are."
    words = ['PRESET=smoke', 'DATASET=digits', *words]
    _, out = planned(words)
    stopped = run(words)
    if stopped: return stopped
    done = executed(out/PAGE.name, out.name)
    shrink(done)
    cells = {cell['id']: cell for cell in done['cells'] if cell['cell_type'] == 'code'}
    page = json.loads(PAGE.read_text(encoding='utf-8'))
    for cell in page['cells']:
        if cell['cell_type'] == 'code': cell['outputs'] = cells[cell['id']]['outputs']
    PAGE.write_text(json.dumps(page, ensure_ascii=False, indent=1) + '\n', encoding='utf-8')
    from nbdev.clean import nbdev_clean
    nbdev_clean(str(PAGE))

def keep(words):
    "Copy what a reader wants to see of the last run beside the pages."
    passed, out = planned(words)
    to = ROOT/'nbs/results'/name_of(defaults() | passed)
    if not (out/'environment.json').exists(): raise SystemExit(f'{out} holds no finished run: environment.json is missing')
    shutil.rmtree(to, ignore_errors=True)
    (to/'tables').mkdir(parents=True)
    for f in ('claims.csv', 'environment.json'): shutil.copy(out/f, to)
    for f in sorted((out/'tables').glob('*.csv')): (to/'tables'/f'{f.name}.gz').write_bytes(packed(f.read_bytes()))
    for f in (out/'figures'/f'{name}.png' for name in FIGURES):
        if f.exists(): (to/f.name).write_bytes(smaller(f.read_bytes()))
    if (out/PAGE.name).exists(): keep_page(out/PAGE.name, to)

if __name__ == '__main__':
    os.chdir(ROOT)
    words = sys.argv[1:]
    do = dict(keep=keep, show=show).get(words[0] if words else '', reproduce)
    words = words[do is not reproduce:] + under_make()
    sys.exit(do(words))
