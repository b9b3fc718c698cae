import argparse
import re

import pytest
import torch
from safetensors.torch import save_file

import backbones
from backbones.state_dict import KEYS, load_backbone, read_tensors
from core.errors import UserError


def _network(name="tiny-resnet8", size=32):
    """A network whose batch norms have updated statistics."""
    torch.manual_seed(0)
    network = backbones.create(name, size).train()
    with torch.no_grad():
        network(torch.randn(4, 3, size, size))
    return network.eval()


@pytest.fixture(scope="module")
def weights():
    return _network().state_dict()


def _under(prefix, weights):
    return {prefix + name: tensor for name, tensor in weights.items()}


def _fresh():
    torch.manual_seed(1)
    return backbones.create("tiny-resnet8", 32)


def _same(network, weights):
    return all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


def _said(refuse, *arguments):
    with pytest.raises(UserError) as error:
        refuse(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("file", ["w.safetensors", "w.pth", "w.pt", "w.pth.tar"])
def test_a_bare_state_dict_is_read_to_the_bit(tmp_path, weights, file):
    path = tmp_path / file
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    tensors, key = read_tensors(path)
    network = _fresh()
    assert load_backbone(network, tensors).left_out == []
    assert key == ""
    assert _same(network, weights)


@pytest.mark.parametrize("key", KEYS)
def test_a_state_dict_is_found_under_the_usual_keys(tmp_path, weights, key):
    torch.save({key: weights, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}, tmp_path / "w.pth")
    tensors, found = read_tensors(tmp_path / "w.pth")
    assert found == key
    assert tensors.keys() == weights.keys()


def test_ambiguous_files_need_key_or_prefix(tmp_path, weights):
    torch.save({"student": weights, "teacher": weights, "mine": weights}, tmp_path / "w.pth")
    assert "several networks, student, teacher; select one with --key" in _said(read_tensors, tmp_path / "w.pth")
    assert read_tensors(tmp_path / "w.pth", "mine")[1] == "mine"
    assert "under the key 'his'; it has student, teacher, mine" in _said(read_tensors, tmp_path / "w.pth", "his")
    torch.save({"mine": weights, "epoch": 1}, tmp_path / "w.pth")
    assert "it has mine; select one with --key" in _said(read_tensors, tmp_path / "w.pth")
    both = _under("backbone.", weights) | _under("encoder.", weights)
    assert "several prefixes, 'backbone.' and 'encoder.'; select one with --prefix" in _said(load_backbone, _fresh(), both)


def test_a_file_that_would_run_code_is_refused(tmp_path, weights):
    torch.save({"state_dict": weights, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    assert "contains pickled code (argparse.Namespace)" in _said(read_tensors, tmp_path / "w.pth")
    torch.save(_fresh(), tmp_path / "w.pth")
    assert "contains pickled code (timm.models.byobnet.ByobNet)" in _said(read_tensors, tmp_path / "w.pth")


@pytest.mark.parametrize("file", ["w.safetensors", "w.pth"])
def test_damaged_and_absent_files_are_reported(tmp_path, weights, file):
    path = tmp_path / file
    assert "there is no file" in _said(read_tensors, path)
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:-1000])
    assert "damaged" in _said(read_tensors, path)
    (tmp_path / "w.npz").write_bytes(b"")
    assert "has none of the suffixes .safetensors" in _said(read_tensors, tmp_path / "w.npz")


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "encoder.", "module.backbone.", "module.encoder_q.", "model.net."])
def test_a_prefix_that_all_share_is_taken_off(weights, prefix):
    head = prefix.split(".")[0] + "." if prefix.startswith("mod") else ""
    tensors = _under(prefix, weights) | {f"{prefix}fc.weight": torch.zeros(10, 64), f"{head}projector.0.bias": torch.zeros(3)}
    network = _fresh()
    loaded = load_backbone(network, tensors)
    assert (loaded.prefix, loaded.left_out) == (prefix, [f"{prefix}fc.weight", f"{head}projector.0.bias"])
    assert _same(network, weights)


def test_names_of_which_a_part_has_another_prefix_do_not_fit(weights):
    first, *others = weights
    tensors = {first: weights[first]} | _under("module.", {name: weights[name] for name in others})
    assert "several prefixes" in _said(load_backbone, _fresh(), tensors)


def test_what_is_no_head_is_not_skipped(weights):
    more = weights | {"stages.3.0.conv.weight": torch.zeros(4), "queue": torch.zeros(4)}
    said = _said(load_backbone, _fresh(), more)
    assert "2 unexpected: stages.3.0.conv.weight, queue;" in said
    assert "missing" not in said
    # a head of a part that the network has itself is none
    assert "1 unexpected" in _said(load_backbone, _fresh(), weights | {"stages.0.fc.weight": torch.zeros(4)})


def _copies(*prefixes):
    """A function from weights to a state dict with a copy under each prefix; of the second copy on, with other values."""
    return lambda weights: {
        f"{prefix}{name}": tensor if prefix == prefixes[0] else torch.zeros_like(tensor)
        for prefix in prefixes
        for name, tensor in weights.items()
    }


# a checkpoint of a kind, the prefix of its backbone, and its other tensors
CHECKPOINTS = {
    "MoCo": ("module.encoder_q.", ["module.encoder_k."], ["module.queue", "module.queue_ptr"]),
    "MoCo v2": ("module.encoder_q.", ["module.encoder_k."], ["module.encoder_q.fc.0.weight", "module.encoder_k.fc.0.weight"]),
    "MoCo v3": ("module.base_encoder.", ["module.momentum_encoder."], ["module.predictor.0.weight"]),
    "BYOL": ("online_encoder.", ["target_encoder."], ["online_predictor.layers.0.bias"]),
    "solo-learn": ("backbone.", ["momentum_backbone."], ["classifier.weight", "momentum_projector.0.weight", "queue"]),
    "a name of its own": ("method.features.", [], ["method.codebook"]),
    "an autoencoder": ("encoder.", [], ["decoder.0.weight"]),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
@pytest.mark.parametrize("compiled", ["", "outside", "inside"])
def test_networks_beside_the_backbone_are_left_out(weights, kind, compiled):
    prefix, copies, others = CHECKPOINTS[kind]
    tensors = _copies(prefix, *copies)(weights) | {name: torch.zeros(4) for name in others}
    file = {
        "": tensors,
        "outside": _under("_orig_mod.", tensors),
        "inside": {name.replace(prefix, f"{prefix}_orig_mod."): tensor for name, tensor in tensors.items()},
    }[compiled]
    network = _fresh()
    loaded = load_backbone(network, file)
    assert loaded.prefix == prefix
    assert set(loaded.left_out) == tensors.keys() - _under(prefix, weights).keys()
    assert _same(network, weights)


def test_the_prefix_of_a_compiled_network_may_be_given(weights):
    network = _fresh()
    loaded = load_backbone(network, _copies("a._orig_mod.", "b._orig_mod.")(weights), "a._orig_mod.")
    assert loaded.prefix == "a._orig_mod."  # part of the id of its records
    assert _same(network, weights)


def test_the_dot_of_a_given_prefix_may_be_omitted(weights):
    network = _fresh()
    assert load_backbone(network, _copies("a.", "b.")(weights), "a").prefix == "a."
    assert _same(network, weights)


def test_a_key_may_be_a_number(tmp_path, weights):
    torch.save({0: weights, 1: weights}, tmp_path / "w.pth")
    tensors, found = read_tensors(tmp_path / "w.pth", "1")
    assert found == "1"
    assert tensors.keys() == weights.keys()


@pytest.mark.parametrize("prefixes", [("student.", "teacher."), ("a.b.", "a.c.", "d."), ("backbone.", "module.encoder_q.")])
def test_several_whole_backbones_are_named(weights, prefixes):
    said = _said(load_backbone, _fresh(), _copies(*prefixes)(weights))
    assert f"several prefixes, {' and '.join(map(repr, prefixes))}; select one with --prefix" in said


def test_a_part_of_a_backbone_is_not_loaded(weights):
    """Of a copy without one tensor or with another shape, nothing is used, and other networks are errors."""
    last = list(weights)[-1] if not list(weights)[-1].endswith("num_batches_tracked") else list(weights)[-2]
    for copy in (
        {name: tensor for name, tensor in weights.items() if name != last},
        weights | {last: torch.zeros(3, 3)},
    ):
        said = _said(load_backbone, _fresh(), _under("encoder_q.", copy) | {"queue": torch.zeros(4)})
        assert ("1 missing: " in said and "1 unexpected: queue" in said) or "under 'encoder_q.'; 1 of wrong shape: " in said


def test_the_report_names_what_is_missing_and_of_another_shape(weights):
    one, two, *_ = (name for name in weights if name.endswith("conv.weight"))
    other = {name: tensor for name, tensor in weights.items() if name != one} | {two: torch.zeros(7, 7)}
    said = _said(load_backbone, _fresh(), other)
    size = "x".join(map(str, weights[two].shape))
    assert said.startswith(f"{len(weights) - 2} of {len(weights)} keys match; 1 missing: {one}; 1 of wrong shape: {two} is 7x7")
    assert f", not {size}; try another --backbone" in said
    said = _said(load_backbone, _fresh(), {"a.b": torch.zeros(1)})
    assert re.match(rf"0 of {len(weights)} keys match; \d+ missing: \S+, \S+, \S+ and \d+ more; 1 unexpected: a\.b; ", said)


def test_counters_of_old_files_may_be_missing_and_nothing_else(weights):
    old = {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}
    network = _fresh()
    load_backbone(network, old)
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in old.items())
    name = next(name for name in old if name.endswith("running_var"))
    assert f"1 missing: {name}" in _said(load_backbone, _fresh(), {key: old[key] for key in old if key != name})


def test_untrained_weights_are_refused(weights):
    assert "have their initial values" in _said(load_backbone, _fresh(), _fresh().state_dict())
    vit = "vit_tiny_patch16_224"
    with torch.device("meta"):
        names = backbones.create(vit, 224).state_dict()
    fresh = {
        name: torch.ones(t.shape) if "norm" in name and name.endswith("weight") else torch.zeros(t.shape)
        for name, t in names.items()
    }
    assert "have their initial values" in _said(load_backbone, backbones.create(vit, 224), fresh)
    name = next(name for name in weights if name.endswith("conv.weight"))
    assert "not finite" in _said(load_backbone, _fresh(), weights | {name: torch.full_like(weights[name], torch.nan)})


def test_a_torchvision_resnet_is_a_timm_one():
    """Keys are equal except for the classifier."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    theirs = resnet18(weights=None).train()
    theirs(torch.randn(2, 3, 64, 64))
    network = backbones.create("resnet18", 224)
    assert load_backbone(network, theirs.state_dict()).left_out == ["fc.weight", "fc.bias"]
    theirs.fc = torch.nn.Identity()
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(network.eval()(x), theirs.eval()(x), atol=1e-5)


@pytest.mark.parametrize("prefixes", [("",), ("student.", "teacher."), ("module.encoder_q.", "module.encoder_k."), ("a.b.",)])
@pytest.mark.parametrize(("size", "other"), [(32, 224), (224, 32)])
def test_a_stem_of_another_image_size_is_the_reason(prefixes, size, other):
    weights = _copies(*prefixes)(backbones.create("resnet18", size).state_dict()) | {"head.bias": torch.zeros(4)}
    kinds = {32: "64x3x3x3", 224: "64x3x7x7"}
    said = _said(load_backbone, backbones.create("resnet18", other), weights)
    under = f" under {prefixes[0]!r}" if prefixes != ("",) else ""
    assert said.startswith(
        f"119 of 120 keys match{under}; 1 of wrong shape: conv1.weight is {kinds[size]}, not {kinds[other]}; only "
    )
    assert said.endswith("give --datasets with images of the size that the weights were trained on")


@pytest.mark.parametrize("prefix", ["student.", "a.b."])
def test_the_prefix_of_another_network_is_found_by_the_most_names(prefix):
    weights = _under(prefix, backbones.create("resnet18", 224).state_dict())
    said = _said(load_backbone, backbones.create("resnet34", 224), weights)
    assert re.match(rf"120 of 216 keys match under '{re.escape(prefix)}'; \d+ missing: layer1\.2\.conv1\.weight, ", said)
    assert "unexpected" not in said
    assert said.endswith("try another --backbone, or select a part of the file with --prefix")
