"Random networks: a group is verified by an oracle of its own, or refused; the oracle sees planted errors; failures shrink and replay."
import json, random
from dataclasses import replace
import pytest
import torch
pytest.importorskip('hypothesis')
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
import fuzz

PLAIN = [[0, 'input', [], {'shape': [4]}], [1, 'linear', [0], {'out': 6, 'bias': True}], [2, 'act', [1], {'f': 'relu'}], [3, 'flip', [2], {'a': 1, 'f': 'flip'}],
         [4, 'flip', [3], {'a': 1, 'f': 'flip'}], [5, 'head', [4], {}]]

@settings(max_examples=25, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(rng=st.randoms(use_true_random=False), seed=st.integers(0, 2**20))
def test_no_random_network_gets_a_wrong_group(rng, seed):
    program = fuzz.random_program(rng)
    row = fuzz.check(program, seed)
    if row['verdict'] not in ('verified', 'refused'):
        program = fuzz.shrink(program, seed, seconds=60)
        pytest.fail(f'{row["verdict"]}: {row["why"]}\n{fuzz.show(program)}\nreplay: {json.dumps(dict(seed=seed, program=program))}')

@pytest.mark.long
@pytest.mark.parametrize('part', range(8))
def test_no_random_network_of_many_gets_a_wrong_group(part, capsys):
    assert fuzz.main(['--cases', '50', '--seed', str(1000+part)]) == 0, capsys.readouterr().out

@pytest.mark.parametrize('n', [15, pytest.param(40, marks=pytest.mark.long)])
def test_programs_run_and_export(n):
    done = 0
    for seed in range(n):
        net = fuzz.Network(fuzz.random_program(random.Random(seed)), seed).eval()
        try: torch.export.export(net, (net.example(seed),), strict=False); done += 1
        except Exception as e: print(seed, e)
    assert done >= n-2, f'only {done} of {n} random networks export'

def test_a_program_says_all_of_its_network():
    for seed in range(5):
        program = fuzz.random_program(random.Random(seed))
        assert program == fuzz.random_program(random.Random(seed))
        a, b = fuzz.Network(program, seed).eval(), fuzz.Network(json.loads(json.dumps(program)), seed).eval()
        assert torch.equal(a(a.example()), b(b.example()))

@pytest.mark.parametrize('harm', ['half a permutation', 'half a scale', 'not a group'])
def test_the_oracle_sees_a_planted_error(monkeypatch, harm):
    right = fuzz.find_symmetries
    short = lambda parts: tuple(replace(p, wires=p.wires[:1]) for p in parts)
    def wrong(*args):
        sym = right(*args)
        if harm == 'not a group': raise KeyError('planted')
        return replace(sym, blocks=short(sym.blocks)) if harm == 'half a permutation' else replace(sym, families=short(sym.families))
    program = [o for o in PLAIN if o[1] != 'flip'][:-1] + [[5, 'head', [2], {}]]
    assert fuzz.check(program)['verdict'] == 'verified'
    monkeypatch.setattr(fuzz, 'find_symmetries', wrong)
    assert fuzz.check(program)['verdict'] == ('crash' if harm == 'not a group' else 'wrong')

def test_a_failing_program_shrinks_to_its_cause():
    fails = lambda program, seed: dict(verdict='wrong' if any(o[1] == 'flip' for o in program) else 'verified', why='')
    assert [o[1] for o in fuzz.shrink(PLAIN, test=fails)] == ['input', 'flip', 'head']

def test_the_long_run_writes_what_it_replays(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fuzz, 'check', lambda program, seed: dict(verdict='crash', why='planted', seconds=0.))
    out = tmp_path/'failing.jsonl'
    assert fuzz.main(['--cases', '2', '--shrink', '--out', str(out)]) == 1
    rows = [json.loads(l) for l in out.read_text().splitlines()]
    assert [len(r['shrunk']) for r in rows] == [2, 2] and 'crash 2' in capsys.readouterr().out
    monkeypatch.undo()
    assert fuzz.main(['--replay', str(out)]) == 0
