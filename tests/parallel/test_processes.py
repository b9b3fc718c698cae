"""Collectives, batch norm, gradients and loader of several processes against those of one."""

import pytest
import torch
from PIL import Image

from commands.float64_training import by_processes
from tests.parallel.checks import everything

TOLERANCE = {"torch.float64": 1e-12, "torch.float32": 2e-5, "torch.bfloat16": 0.05}


@pytest.fixture(scope="module")
def files(photographs, tmp_path_factory):
    """Paths of 19 images, of which two cannot be decoded."""
    folder = tmp_path_factory.mktemp("files")
    for number, image in enumerate(photographs[:19]):
        Image.fromarray(image.permute(1, 2, 0).numpy()).resize((40 + number, 50)).save(folder / f"{number:02}.png")
    for number in (4, 11):
        data = (folder / f"{number:02}.png").read_bytes()
        (folder / f"{number:02}.png").write_bytes(data[: len(data) // 2])
    return sorted(map(str, folder.iterdir()))


@pytest.fixture(scope="module")
def alone(photographs, files):
    return everything(photographs, files)


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def together(request, photographs, files, tmp_path_factory):
    return by_processes(request.param, tmp_path_factory.mktemp("processes"), everything, photographs, files)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_batch_norm_is_that_of_the_whole_batch(dtype, alone, together):
    for found in together:
        for name, expected in alone[f"norms in {dtype}"].items():
            for key, value in expected.items():
                near = torch.allclose(found[f"norms in {dtype}"][name][key].double(), value.double(), atol=TOLERANCE[dtype])
                assert near, (name, key)


@pytest.mark.parametrize("of", ["learned", "learned in parts"])
def test_each_row_counts_once_in_the_gradients(of, alone, together):
    """A mean over processes would be too small by their number, a sum of the objective's own gradients too large."""
    assert all(value.abs().max() > 1e-3 for value in alone[of].values())
    for found in together:
        for key, value in alone[of].items():
            torch.testing.assert_close(found[of][key], value, rtol=1e-12, atol=1e-12, msg=key)


@pytest.mark.parametrize("of", ["in memory", "files"])
def test_views_are_those_of_one_process(of, alone, together):
    for found in together:
        assert torch.equal(found[of]["index"], alone[of]["index"])
        torch.testing.assert_close(found[of]["views"], alone[of]["views"], rtol=0, atol=1e-5)


def test_unreadable_files_are_agreed_on(alone, together):
    assert [name[-6:] for name in alone["files"]["unreadable"]] == ["04.png", "11.png"]
    assert all(found["files"]["unreadable"] == alone["files"]["unreadable"] for found in together)


def test_collectives(alone, together):
    count = len(together)
    for rank, found in enumerate(together):
        results = found["collectives"]
        assert results["gathered"] == [[float(r)] * 2 for r in range(count) for _ in range(r + 1)]
        assert results["from_main"] == "of 0"
        assert results["from_all"] == results["after"] == list(range(count))
        assert results["in_turns"] == alone["collectives"]["in_turns"]
        assert results["error in main"] == (("ValueError: in main" if rank == 0 else "FailedInMain: "), True)
        assert results["error in one"] == ("ValueError: in one", False)
