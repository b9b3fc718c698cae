import pytest
import timm
import torch
from torch import nn

import backbones
from backbones import BACKBONES
from core.errors import UserError
from training.config import resolve


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "resnet18d", "densenet121", "efficientnet_b0", "mobilenetv3_small_100"]
)
def test_small_images_keep_their_size_through_the_stem(name):
    backbone = backbones.create(name, image_size=32).eval()
    stem = backbone.get_submodule(backbone.pretrained_cfg["first_conv"])
    shapes = []
    stem.register_forward_hook(lambda module, args, out: shapes.append(out.shape[-2:]))
    with torch.no_grad():
        features = backbone(torch.zeros(2, 3, 32, 32))
    assert shapes == [(32, 32)]
    assert (stem.kernel_size, stem.stride, stem.padding) == ((3, 3), (1, 1), (1, 1))
    assert features.shape == (2, backbones.feature_width(backbone, 32))


def test_small_resnet18_is_the_reference_network():
    """SDCLR `models/resnet.py`: no max-pool, strides 1, 2, 2, 2, 512-d features, every norm's weight one at the start."""
    backbone = backbones.create("resnet18", image_size=32)
    maps = []
    for stage in (backbone.maxpool, backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        stage.register_forward_hook(lambda module, args, out: maps.append(tuple(out.shape[1:])))
    backbone.eval()(torch.zeros(1, 3, 32, 32))
    assert maps == [(64, 32, 32), (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert sum(p.numel() for p in backbone.parameters()) == 11_168_832  # torchvision's, with a 3x3 stem and no classifier
    assert all((m.weight == 1).all() for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))


def test_large_images_keep_the_usual_stem():
    backbone = backbones.create("resnet18", image_size=224)
    assert backbone.conv1.kernel_size == (7, 7)
    assert isinstance(backbone.maxpool, nn.MaxPool2d)


@pytest.mark.parametrize("name", BACKBONES.names())
def test_declared_backbones_give_pooled_features(name):
    backbone = backbones.create(name, image_size=32)
    assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, backbones.feature_width(backbone, 32))
    assert backbone(torch.zeros(2, 3, 16, 16)).ndim == 2


def test_what_cannot_be_used_is_refused_in_one_line():
    with pytest.raises(UserError, match="did you mean 'resnet18'"):
        backbones.create("resnet81", image_size=32)
    with pytest.raises(UserError, match="no convolutional stem"):
        backbones.create("vit_tiny_patch16_224", image_size=32)


@pytest.mark.parametrize("name", ["resnet81", "ResNet-50", "resnet_18", "vit_tiny_patch16", "convnext_tinny"])
def test_five_near_names_are_listed_for_an_unknown_one(name):
    with pytest.raises(UserError) as error:
        backbones.create(name, image_size=32)
    message = str(error.value)
    named = message.partition("did you mean")[2].split("'")[1::2]
    assert len(set(named)) == 5
    assert all(timm.is_model(other) or other in BACKBONES for other in named)
    with pytest.raises(UserError, match=r"^timm has no weights 'pth' of resnet18; give the name of the network, resnet18$"):
        backbones.create("resnet18.pth", image_size=32)
    with pytest.raises(UserError, match="no backbone is named 'zzz'; none of the"):
        backbones.create("zzz", image_size=32)


@pytest.mark.parametrize("name", ["resnet18", "timm/resnet18", "hf-hub:timm/resnet18", "hf_hub:timm/resnet18"])
def test_names_of_the_hub_are_those_of_timm(name):
    assert backbones.canonical(name) == "resnet18"
    settings = {"method": "simclr", "dataset": "digitslt", "preset": "smoke", "precision": "fp32"}
    own, plain = (resolve(**settings, recipe_changes={"backbone": given}) for given in (name, "resnet18"))
    assert own == plain
