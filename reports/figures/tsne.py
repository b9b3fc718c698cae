"""Test features in two dimensions by t-SNE, of a sample that is kept beside the run.

    tsne-embedding.npz    xy (n, 2) float32 and `key`, the hash of what it was computed from; made when first it is drawn

van der Maaten & Hinton, JMLR 2008; the implementation is scikit-learn's.
"""

import hashlib
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.files import write_atomic
from run_store.arrays import read_arrays
from run_store.feature_sample import Sample

log = logging.getLogger(__name__)

EMBEDDING = "tsne-embedding.npz"
PERPLEXITY = 30.0
SEED = 0  # of the optimisation


def embedding(folder: Path, sample: Sample) -> NDArray[np.float32]:
    """(n, 2) places of the sample, from the cache beside it where that is of this sample, else computed and kept there.

    Raises ValueError for a sample of fewer than five images.
    """
    settings = (sample.features.shape, PERPLEXITY, SEED)
    key = hashlib.sha256(repr(settings).encode() + np.ascontiguousarray(sample.features).tobytes()).hexdigest()
    kept = _kept(folder / EMBEDDING, key, len(sample.labels))
    if kept is not None:
        return kept
    log.info("t-SNE of %s, once", folder.name)
    xy = embed(sample.features)
    try:
        write_atomic(folder / EMBEDDING, lambda file: np.savez(file, xy=xy, key=np.array(key)))
    except UserError as error:  # someone else's runs, perhaps: it is only slower the next time
        log.warning("the t-SNE of %s is not kept: %s", folder.name, error)
    return xy


def embed(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n, 2) by t-SNE of (n, d) features: from their principal components, at a fixed seed, on one thread.

    Raises ValueError for fewer than five.
    """
    from sklearn.manifold import TSNE  # slow to import, and wanted only here
    from threadpoolctl import threadpool_limits

    if len(features) < 5:
        raise ValueError(f"t-SNE of {len(features)} images is no picture")
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    with threadpool_limits(1):  # sums of several threads differ from time to time in the last bit, which t-SNE magnifies
        tsne = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=SEED)
        return tsne.fit_transform(features.astype(np.float32)).astype(np.float32)


def _kept(file: Path, key: str, count: int) -> NDArray[np.float32] | None:
    """The places in the cache; None where there is none, or one of another sample."""
    try:
        content = read_arrays(file)
    except ValueError:
        return None
    xy = content.get("xy", np.empty(0))
    return xy if str(content.get("key")) == key and xy.shape == (count, 2) else None
