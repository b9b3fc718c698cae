"""The pool `places69`: scenes of 69 categories that Places365 lacks, COLT's pool for Places-LT.

Zhou et al. 2017, Places-Extra69. COLT's list was not at hand here: neither its sum nor its length is checked, only its form.
"""

from data.datasets.placeslt import COLT
from data.pools.listed import ListedPool
from data.pools.pool import register


@register("places69")
class Places69(ListedPool):
    """The archive of Places-Extra69, at the places that COLT's list names."""

    what = "Places-Extra69, about 98,721 scenes of 69 further categories, COLT's pool for Places-LT"
    licence = "for research, put the authors' archive into the folder places69"
    count = 98_721
    exact = False
    folder = "places69"
    list_url = f"{COLT}/places365/Places69_train.txt"
