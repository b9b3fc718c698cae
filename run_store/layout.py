"""Names of the files in a run folder.

OUT/<dataset>-<method>-split1-seed0-<run id>/
    config.json          resolved configuration; the run id is its hash
    passport.json        identity of the data that the run is trained and probed on
    pool.txt             name, number of images and hash of the OOD pool, if the method uses one
    log.jsonl            one line per epoch
    checkpoint.pt        last checkpoint, and checkpoint.previous.pt the one before it, while the run is being trained
    weights.safetensors  trained method: backbone, heads and per-sample memory
    training.json        time, memory, device and warnings of the training (`TrainingFacts`)
    tail_scores.npz      (N,) `scores`, the tail score of each pretraining image after the last epoch; earlier versions wrote
                         tail_scores.npy
    by_class.npz         quantiles over each class of the per-image state of the method (`class_quantiles`)
    tsne.npz             sample of the test features (`feature_sample`)
    results.jsonl        one record per probe
    error.txt            traceback of the last failure, if there was one
    done                 run id; written last
    lease.json           the process that uses the folder, while it does (`lease`)

A folder of external pretrained weights, or of a run probed on other data, has only config.json, passport.json, tsne.npz and
results.jsonl.

OUT/grid.json            runs of the last grid that was started, and their probes (`states`)
OUT/grid.yaml            options of the last grid that was started (`grid.options_file`)
OUT/.reported            empty; its time is that at which the last report read the records
"""

LOCK = ".lock"
LEASE = "lease.json"
CONFIG = "config.json"
PASSPORT = "passport.json"
POOL = "pool.txt"
LOG = "log.jsonl"
CHECKPOINT = "checkpoint.pt"
PREVIOUS_CHECKPOINT = "checkpoint.previous.pt"
WEIGHTS = "weights.safetensors"
TRAINING = "training.json"
TAIL_SCORES = "tail_scores.npz"
CLASS_QUANTILES = "by_class.npz"
FEATURE_SAMPLE = "tsne.npz"
RESULTS = "results.jsonl"
ERROR = "error.txt"
DONE = "done"
GRID = "grid.json"
REPORTED = ".reported"
