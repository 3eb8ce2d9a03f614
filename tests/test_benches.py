"The files of the benches: whose row is whose, and what the tables say of them."
import datetime, json, re, sys
from pathlib import Path
import pytest

BENCH = Path(__file__).resolve().parent.parent/'bench'
sys.path.insert(0, str(BENCH))
import tables
from kept import RESULTS, keep, read, short

ONE = dict(cpu='AMD(R) One', simd='AVX2', cores=2, gpu=None)
TWO = ONE | dict(gpu='H')

def test_a_row_replaces_its_own_and_no_other(tmp_path):
    path = tmp_path/'bench.json'
    keep(path, [dict(name='a', value=1), dict(name='b', value=2)], ONE, versions=dict(torch='2'))
    keep(path, [dict(name='a', value=3)], TWO, versions=dict(timm='1'))
    rows = keep(path, [dict(name='a', value=4)], ONE, order=['b', 'a'])
    assert [(r['name'], r['machine'], r['value']) for r in rows] == [('b', short(ONE), 2), ('a', short(ONE), 4), ('a', short(TWO), 3)]
    found = json.loads(path.read_text())
    assert found['rows'] == rows == read(path)['rows'] and found['versions'] == dict(torch='2', timm='1')
    assert found['machines'] == {short(ONE): ONE, short(TWO): TWO} and {r['date'] for r in rows} == {datetime.date.today().isoformat()}
    assert len(keep(path, [dict(name='a', value=5)], ONE, key=('name',))) == 2       # whoever measured it

def test_a_machine_has_a_short_name():
    assert short(ONE) == 'AMD One, AVX2, 2 cores' and short(TWO) == 'H, AMD One, AVX2, 2 cores' == short(short(TWO))

def test_rows_of_a_file_that_names_one_machine(tmp_path):
    path = tmp_path/'old.json'
    path.write_text(json.dumps(dict(machine=ONE, rows=[dict(name='a'), dict(name='b', machine=TWO)])))
    assert [r['machine'] for r in read(path)['rows']] == [short(ONE), short(TWO)] and read(tmp_path/'none.json')['rows'] == []

KEPT = [p for p in sorted(RESULTS.glob('*.json')) if not p.name.startswith('evaluation')]

@pytest.mark.parametrize('path', KEPT, ids=lambda p: p.stem)
def test_every_row_says_where_and_when(path):
    found = json.loads(path.read_text())
    seen = [(r['name'], r['machine'], r.get('list')) for r in found['rows']]
    assert len(set(seen)) == len(seen) > 0
    assert all(r['machine'] in found['machines'] and re.fullmatch(r'\d{4}-\d\d-\d\d', r['date']) for r in found['rows'])

def write(folder, name, rows): keep(folder/f'{name}.json', rows, ONE)

def test_networks_are_counted_by_verdict(tmp_path):
    write(tmp_path, 'symmetries', [dict(name='a', list='timm', verdict='verified', coverage=1.), dict(name='b', list='timm', verdict='refused')])
    write(tmp_path, 'peers', [dict(name='a/ours', verdict='right', coverage=.5), dict(name='a/other', verdict='wrong', coverage=.5)])
    lines = tables.networks_markdown(tmp_path).splitlines()
    assert lines[2:] == ['| timm, 30 assorted | `find_symmetries` | 2 | 1 | 1 | 0 | 0 | 50.0% |', f'| {tables.PEERS} | `find_symmetries` | 1 | 1 | 0 | 0 | 0 | 50.0% |',
                         f'| {tables.PEERS} | `other` | 1 | 0 | 0 | 1 | 0 | 0.0% |']

def test_solvers_and_speeds_stand_beside_their_machine(tmp_path):
    write(tmp_path, 'alignment', [dict(name='a/cd', verdict='right', objective=2., seconds=1., before=0.), dict(name='a/other', verdict='timeout')])
    write(tmp_path, 'evaluation', [dict(name='a', seconds=dict(loop=3., ours=1.5)), dict(name='memory')])
    keep(tmp_path/'evaluation.json', [dict(name='a', seconds=dict(loop=4., ours=1.))], TWO)
    today = datetime.date.today().isoformat()
    assert tables.solvers_markdown(tmp_path).splitlines()[2:] == [f'| a | 0 | 2, 1 s | timeout | {short(ONE)} |']
    assert tables.speeds_markdown(tmp_path).splitlines()[2:] == [f'| a | 3 s | 1.5 s | 2.00 | {short(ONE)}, {today} |', f'| a | 4 s | 1 s | 4.00 | {short(TWO)}, {today} |']

def test_every_table_can_be_made_of_what_is_kept():
    for name in [n for n in dir(tables) if n.endswith('_markdown')]:
        lines = getattr(tables, name)().splitlines()
        assert len(lines) > 2 and len({re.sub(r'\\\|', '', line).count('|') for line in lines}) == 1, name
