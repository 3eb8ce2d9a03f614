"""The explorer in a real browser: a headless Chromium opens the page that Voila serves on loopback, and reaches no other host.
Where there is no Chromium it is skipped; LANDSCAPE_NB_BROWSER=required makes that a failure. LANDSCAPE_NB_SCREENSHOT=file.png keeps the picture."""
import contextlib, io, json, os, shutil, socket, subprocess, sys, time
from pathlib import Path
import pytest

ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
LIMIT = 60_000      # bytes of a screenshot

def missing(why):
    if os.environ.get('LANDSCAPE_NB_BROWSER') == 'required': pytest.fail(f'{why}, and LANDSCAPE_NB_BROWSER=required')
    pytest.skip(why)

@pytest.fixture(scope='module')
def chromium():
    "A browser: the system's own, else the one that playwright installed."
    try: from playwright.sync_api import sync_playwright
    except ImportError: missing('playwright is not installed')
    with sync_playwright() as pw:
        found = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'))), None)
        if not found and not Path(pw.chromium.executable_path).exists(): missing("there is no Chromium: 'apt-get install chromium' or 'playwright install chromium'")
        browser = pw.chromium.launch(executable_path=found, args=ARGS)
        yield browser
        browser.close()

PAGE = """
import json, pandas as pd
from pathlib import Path
from landscape_nb.explorer import explore, pair_of
from landscape_nb.report import save_report
from landscape_nb.study import plan
out = Path({out!r})
study = plan('mlp', 'fashion_mnist', 'sgd', seeds=3, preset='smoke', n_train=400, out=str(out), device='cpu', jobs=1)
minima = study.minima()
nets = [*minima[['label', 'seed']].itertuples(index=False, name=None)]
study.bends(nets[:2])
save_report(out, dict(minima=minima, distances=study.distances(nets)), {{}}, pd.DataFrame(), study.environment())
curves = lambda a, b: (lambda p: {{k: p.error(k).tolist() for k in p.lines}})(pair_of(study, a, b, images=500))
(out/'curves.json').write_text(json.dumps([curves(nets[0], n) for n in nets[1:]]))
explore(out, images=500, grid=7)
"""     # three small networks, a bend between the first two

@contextlib.contextmanager
def served(notebook, log):
    "The address of a notebook as a page."
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    with open(log, 'w') as out:
        p = subprocess.Popen([sys.executable, '-m', 'voila', notebook, '--no-browser', '--Voila.ip=127.0.0.1', f'--port={port}'], stdout=out, stderr=out)
        try:
            while True:
                with socket.socket() as s:
                    if s.connect_ex(('127.0.0.1', port)) == 0: break
                assert p.poll() is None, Path(log).read_text()
                time.sleep(.1)
            yield f'http://127.0.0.1:{port}/'
        finally: p.terminate(); p.wait(20)

@pytest.fixture
def page(chromium, tmp_path):
    "The explorer of a small run, open; errors of its scripts fail the test."
    cell = dict(cell_type='code', id='run', metadata={}, execution_count=None, outputs=[], source=PAGE.format(out=str(tmp_path/'run')))
    kernel = dict(name='python3', display_name='python3', language='python')
    (tmp_path/'page.ipynb').write_text(json.dumps(dict(cells=[cell], metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)))
    with served(tmp_path/'page.ipynb', tmp_path/'voila.log') as address:
        page, errors = chromium.new_page(viewport=dict(width=1180, height=820)), []
        page.on('pageerror', lambda e: errors.append(e))
        page.route('**/*', lambda r: r.continue_() if r.request.url.startswith((address, 'data:', 'blob:')) else r.abort())
        page.goto(address, wait_until='commit', timeout=120_000)
        page.locator('.lnb-error').wait_for(timeout=120_000)
        yield page
        page.close()
    assert not errors, errors

def figure(page, name): return page.locator(f'.lnb-figure-{name}').screenshot()

def settled(page, name, before, seconds=30.):
    "The picture of a panel once it is another than `before`."
    end = time.monotonic() + seconds
    while (now := figure(page, name)) == before and time.monotonic() < end: page.wait_for_timeout(50)
    assert now != before, f'{name} did not change'
    return now

def number(page, t):
    "The error that is shown once the slider has come to t."
    page.locator(f'.lnb-status:has-text("error at t = {t:.3f},")').wait_for(timeout=30_000)
    return float(page.locator('.lnb-error').inner_text())

def test_a_move_of_the_slider_shows_another_error(page, tmp_path):
    first, other = json.loads((tmp_path/'run'/'curves.json').read_text())       # of two pairs with the same left end
    shown = lambda line, i, pair=first: round(pair[line][i], 4)
    page.get_by_role('button', name='straight').click()
    before = {k: figure(page, k) for k in ('error', 'classes', 'changes', 'torus')}
    assert number(page, 0) == shown('straight', 0)
    handle = page.locator('.lnb-t .noUi-handle')
    handle.focus()
    for i in range(1, 21):
        handle.press('ArrowRight')
        if i in (1, 10): assert number(page, i/40) == shown('straight', i)
    assert number(page, .5) == shown('straight', 20) != shown('straight', 0)
    for name, old in before.items(): settled(page, name, old)
    old = figure(page, 'plane')
    page.locator('.lnb-third select').select_option(label='sgd 2')
    settled(page, 'plane', old)
    picture = shot(page)
    assert len(picture) <= LIMIT
    if where := os.environ.get('LANDSCAPE_NB_SCREENSHOT'): Path(where).write_bytes(picture)
    assert page.get_by_role('button', name='bend').count() == 1
    page.locator('.lnb-right select').select_option(label='sgd 2')
    page.locator('.lnb-status:has-text("sgd 2")').wait_for(timeout=60_000)
    assert number(page, .5) == shown('straight', 20, other)
    assert page.get_by_role('button', name='bend').count() == 0       # none was trained for this pair

def shot(page):
    "The explorer as a PNG of few colours."
    from PIL import Image
    small = io.BytesIO()
    Image.open(io.BytesIO(page.locator('.lnb-explorer').screenshot())).convert('RGB').quantize(64).save(small, 'png', optimize=True)
    return small.getvalue()
