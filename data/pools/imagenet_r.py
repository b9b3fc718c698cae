"""OOD pool `imagenet-r`: renditions of 200 ImageNet classes; used by COLT for ImageNet-100-LT.

Hendrycks et al., ICCV 2021, arXiv:2006.16241. The renditions share classes with ImageNet.
"""

from data.datasets.placeslt import COLT
from data.pools.listed import ListedPool
from data.pools.pool import register


@register("imagenet-r")
class ImageNetR(ListedPool):
    """Files `imagenet-r/WNID/*.jpg`, as in the authors' archive."""

    what = "ImageNet-R, 30,000 renditions of 200 ImageNet classes, COLT's pool for ImageNet-100-LT"
    licence = "MIT with rights of the pictures' authors, put the authors' archive into the folder imagenet-r"
    count = 30_000
    folder = "imagenet-r"
    list_url = f"{COLT}/imagenet-100/imagenet-r.txt"
    list_sha256 = "ea02a0b4e9799a04f43546cde4ab95b01b166fd9c1459d2a0394c1eb6f836d71"
