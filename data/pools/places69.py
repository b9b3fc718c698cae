"""OOD pool `places69`: scenes of 69 categories that are not in Places365; used by COLT for Places-LT.

Zhou et al. 2017, Places-Extra69. Checksum and length of COLT's index file are unknown and not checked.
"""

from data.datasets.placeslt import COLT
from data.pools.listed import ListedPool
from data.pools.pool import register


@register("places69")
class Places69(ListedPool):
    """The Places-Extra69 archive, at the paths in COLT's index file."""

    what = "Places-Extra69, about 98,721 scenes of 69 further categories, COLT's pool for Places-LT"
    licence = "for research, put the authors' archive into the folder places69"
    count = 98_721
    exact = False
    folder = "places69"
    list_url = f"{COLT}/places365/Places69_train.txt"
