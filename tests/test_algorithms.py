"An algorithm that a user enters: it trains, it is planned, it reaches other processes, and the keys of the others stay."
import pytest, torch
from landscape_nb.data import load_data
from landscape_nb.optimizers import ALGORITHMS, Recipe, algorithm, minimize, minimum_spec, recipe_for, register_recipe
from landscape_nb.store import Store
from landscape_nb.study import StudyError, plan
from landscape_nb.training.recipes import DERIVED
from landscape_nb.training.updates import FACTS, RULES

@pytest.fixture
def signed():
    "Descent along signs of the gradient, entered as a user would; gone afterwards."
    @algorithm('signed')
    def rule(m, r, t):
        m.gradient()
        m.nets.g.sign_()
        m.opt.step()
        return {}
    register_recipe('signed', lr=1e-3)
    yield 'signed'
    for table in (RULES, FACTS, DERIVED): del table['signed']

def small(out, **kw):
    return plan('mlp', 'digits', preset='smoke', seeds=1, width=.25, n_train=100, out=str(out), device='cpu', **kw)

def test_it_trains(signed, tmp_path):
    found = minimize(recipe_for('mlp', 'digits', signed, 0, 'smoke', 500, .25), Store(tmp_path), progress=False)
    assert found.accepted and found.train.error <= .005

def test_one_step_is_that_of_the_rule(signed, tmp_path):
    r = Recipe('mlp', 'digits', signed, 0, 100, .25, epochs=1, batch=100, lr=.01, momentum=0.)
    moved, start = (minimize(q, Store(tmp_path), progress=False).state for q in (r, Recipe(**vars(r) | dict(lr=1e-12))))
    steps = torch.cat([(moved[k]-start[k]).abs().flatten() for k in moved])
    assert bool(((steps < 1e-6) | ((steps - .01).abs() < 1e-6)).all()) and bool((steps > 1e-3).any())

def test_it_is_planned_and_reaches_other_processes(signed, tmp_path):
    assert 'signed' in ALGORITHMS
    study = small(tmp_path, algorithms='sgd signed', jobs=2)
    assert study.labels == ('sgd', 'signed')
    assert study.recipe('signed', 0).lr == 1e-3
    assert set(study.minima().label) == {'sgd', 'signed'}

def test_it_is_gone_where_nobody_entered_it(tmp_path):
    assert 'signed' not in ALGORITHMS
    with pytest.raises(StudyError, match='signed.*sgd'): small(tmp_path, algorithms='sgd signed')

def test_the_version_of_a_rule_is_part_of_its_key_and_of_no_other(signed):
    data = load_data('digits', 500)
    key = lambda label: minimum_spec(recipe_for('mlp', 'digits', label, 0, 'smoke', 500, .25), data)
    assert key('signed')['algorithm_version'] == 0
    assert 'algorithm_version' not in key('sgd') and 'algorithm_version' not in key('esgd')
