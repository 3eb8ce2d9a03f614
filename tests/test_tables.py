"Tables of the benches: made from files whose right table is known."
import json, sys
from pathlib import Path
import pytest

@pytest.fixture
def tables(root):
    sys.path.insert(0, str(root/'bench'))
    import tables
    yield tables
    sys.path.remove(str(root/'bench'))

@pytest.fixture
def put(tmp_path): return lambda name, rows, **more: (tmp_path/f'{name}.json').write_text(json.dumps(dict(rows=rows, **more)))

def test_networks_are_counted_by_verdict(tables, put, tmp_path):
    put('symmetries-torchvision', [dict(name='a', verdict='verified', coverage=1.), dict(name='b', verdict='refused')])
    put('peers', [dict(name='a/ours', verdict='right', coverage=.5), dict(name='a/other', verdict='wrong', coverage=.5)])
    lines = tables.networks_markdown(tmp_path).splitlines()
    assert lines[2] == '| torchvision, every classifier | `find_symmetries` | 2 | 1 | 1 | 0 | 0 | 50.0% |'
    assert lines[4].endswith('| `other` | 1 | 0 | 0 | 1 | 0 | 0.0% |') and len(lines) == 5

def test_a_solver_that_failed_says_so(tables, put, tmp_path):
    assert tables.solvers_markdown(tmp_path) == ''
    put('alignment', [dict(name='a/cd', verdict='right', objective=2., seconds=1., before=0.), dict(name='a/other', verdict='timeout')])
    assert tables.solvers_markdown(tmp_path).splitlines()[2] == '| a | 0 | 2, 1 s | timeout |'

def test_other_machines_are_ratios(tables, put, tmp_path):
    put('evaluation', [dict(name='a', seconds=dict(loop=3., ours=1.5)), dict(name='memory')])
    put('evaluation-other', [dict(name='a', seconds=dict(loop=4., ours=1.))], machine=dict(cpu='C', simd='S'))
    put('bends-other', [dict(name='b', seconds=dict(loop=4., ours=1.)), dict(name='step')])
    head, _, *rows = tables.speeds_markdown(tmp_path).splitlines()
    assert head == '| what | a plain loop | here | ratio | on C, S |' and rows == ['| a | 3 s | 1.5 s | 2.00 | 4.00 |', '| b |  |  |  | 4.00 |']

def test_studies_name_their_machine(tables, put, tmp_path):
    assert tables.studies_markdown(tmp_path) == ''
    put('study', [dict(arch='a', n_train=2000, width=.5, accepted=8, minima=9, seconds=1234.5, machine=dict(gpu=None, cores=2, cpu='C', simd='S'))])
    assert tables.studies_markdown(tmp_path).splitlines()[2:] == ['| `a` | 2,000 | 0.5 | 8 of 9 | 1,234 | 2 cores, C, S |']
