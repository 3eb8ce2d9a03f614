"""One small member of every family of torchvision's classifiers, judged by the oracle of the bench."""
import sys
from pathlib import Path
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'bench'))
from oracle import torchvision_net
from symmetries import measure

FAMILIES = '''convnext_tiny densenet121 efficientnet_b0 googlenet mnasnet0_5 mobilenet_v2 mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18
resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1 swin_t swin_v2_t vit_b_32'''.split()

SHORT = ('mobilenet_v3_small', 'squeezenet1_1')        # a cross-section; the others in make test-all

@pytest.mark.parametrize('name', [n if n in SHORT else pytest.param(n, marks=pytest.mark.long) for n in FAMILIES])
def test_the_group_of_a_family_is_found_and_true(name):
    "Random elements keep the logits, planted errors move them, blocks and units are those counted by hand, nothing is frozen."
    row = measure(name, torchvision_net, planted=2)
    assert row['verdict'] == 'verified', row.get('why')
    assert row.get('as_expected', True), (row['blocks'], row['units'], row['expected'])
    assert row['coverage'] > .97 and not row['frozen'], row['frozen_first']
