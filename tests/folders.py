"""Small benchmarks of photographs in files, for tests."""

import tarfile
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image

COUNTS = {"pretrain": (12, 7, 4), "train": (5, 5, 5), "test": (3, 3, 3)}  # images of each class
FILES = {"pretrain": "lt_train.txt", "train": "balanced_train.txt", "test": "test.txt"}


def make_folder(folder: Path, photographs) -> None:
    """Writes 47 small JPEGs of different sizes and the three lists of `folderlt` that name them."""
    pictures = iter(photographs)
    for role, counts in COUNTS.items():
        lines = []
        for c, count in enumerate(counts):
            (folder / role / f"class{c}").mkdir(parents=True)
            for i in range(count):
                name = f"{role}/class{c}/{i}.jpg"
                picture = Image.fromarray(next(pictures).permute(1, 2, 0).numpy())
                picture.resize((40 + 3 * i, 48 - 2 * i)).save(folder / name)
                lines.append(f"{name} {c}\n")
        (folder / FILES[role]).write_text("".join(lines))


def write_images(folder: Path, names: Iterable[str]) -> None:
    """Writes small images that differ in colour, at these paths below the folder."""
    for number, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        colour = (37 * number % 256, 91 * number % 256, 151 * number % 256)
        Image.new("RGB", (36 + number % 5, 40), colour).save(file)


def class_images(counts: dict[str, int], prefix: str = "") -> list[str]:
    """Paths of so many images in the folder of each class, below the prefix."""
    return [f"{prefix}{name}/{i}.png" for name, count in counts.items() for i in range(count)]


def write_tar(file: Path, members: Mapping[str, bytes]) -> None:
    """Writes a tar file with these members."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))


def write_shard(file: Path, images: Mapping[str, Path]) -> None:
    """Writes a webdataset shard: for each key an image file, and the name of its folder as the label in `cls`."""
    members = {}
    for key, image in images.items():
        members |= {f"{key}{image.suffix}": image.read_bytes(), f"{key}.cls": image.parent.name.encode()}
    write_tar(file, members)
