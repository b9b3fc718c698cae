"""t-SNE of the feature sample in a run folder, cached there.

    tsne-embedding.npz    xy (n, 2) float32, and `key`, the hash of the features and settings

van der Maaten & Hinton, JMLR 2008; the implementation is scikit-learn's.
"""

import hashlib
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.arrays import Form, read_arrays, write_arrays
from core.errors import UserError
from core.files import remove_unfinished
from core.schema import InvalidData
from run_store.feature_sample import Sample

log = logging.getLogger(__name__)

EMBEDDING = "tsne-embedding.npz"
PERPLEXITY = 30.0
SEED = 0  # of the optimisation


def embedding(folder: Path, sample: Sample) -> NDArray[np.float32]:
    """(n, 2) embedding of the sample, from the cache in `folder` if it is of this sample, else computed and cached.

    Raises ValueError for fewer than five images.
    """
    settings = (sample.features.shape, PERPLEXITY, SEED)
    key = hashlib.sha256(repr(settings).encode() + np.ascontiguousarray(sample.features).tobytes()).hexdigest()
    cached = _cached(folder / EMBEDDING, key, len(sample.labels))
    if cached is not None:
        return cached
    log.info("computing the t-SNE of %s", folder.name)
    xy = embed(sample.features)
    try:
        remove_unfinished(folder, EMBEDDING)
        write_arrays(folder / EMBEDDING, xy=xy, key=np.array(key))
    except UserError as error:  # a read-only folder: the embedding is computed again next time
        log.warning("the t-SNE of %s is not cached: %s", folder.name, error)
    return xy


def embed(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n, 2) t-SNE of (n, d) features: PCA initialisation, fixed seed, one thread. Raises ValueError for fewer than five."""
    from sklearn.manifold import TSNE  # slow to import
    from threadpoolctl import threadpool_limits

    if len(features) < 5:
        raise ValueError(f"t-SNE needs at least 5 images, the sample has {len(features)}")
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    with threadpool_limits(1):  # with several threads the last bit varies, which t-SNE amplifies
        tsne = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=SEED)
        return tsne.fit_transform(features.astype(np.float32)).astype(np.float32)


def _cached(file: Path, key: str, count: int) -> NDArray[np.float32] | None:
    """The cached embedding; None if there is none or it is of another sample."""
    try:
        content = read_arrays(file, "", xy=Form(np.float32, (count, 2)), key=Form(np.str_))
    except InvalidData:
        return None
    return content["xy"] if str(content["key"]) == key else None
