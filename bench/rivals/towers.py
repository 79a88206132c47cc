"""The training step of TensorFlow Recommenders on what towers-data.ts wrote: towers.py FOLDER static|dynamic BATCH THREADS

Two towers of Embedding(64), Dense(64, relu), Dense(32), in-batch softmax, Adagrad, as a compiled function over batches that
lie ready: what freshet's `bench train` does, but that has the sampling correction and masks accidental hits as well.
`dynamic`: hash tables of the addons for the embeddings. Prints one JSON object.
"""
import json, os, resource, sys, time

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
import numpy as np
import tensorflow as tf

folder, tables, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
tf.config.threading.set_intra_op_parallelism_threads(threads)
tf.config.threading.set_inter_op_parallelism_threads(threads)
import tensorflow_recommenders as tfrs

warm_up_steps, windows, seconds = 30, 3, 1.0
users, items = np.fromfile(os.path.join(folder, "interactions.bin"), "<i4").reshape(2, -1).astype(np.int64)


def embedding(n, name):
    if tables == "static":
        return tf.keras.layers.Embedding(n, 64)
    from tensorflow_recommenders_addons import dynamic_embedding as de

    start = tf.keras.initializers.RandomUniform(-0.05, 0.05, seed=1)
    return de.keras.layers.Embedding(
        64, key_dtype=tf.int64, initializer=start, name=name, init_capacity=1 << 14, devices=["/CPU:0"], bp_v2=False
    )


def tower(n, name):
    dense = [tf.keras.layers.Dense(64, activation="relu"), tf.keras.layers.Dense(32)]
    return tf.keras.Sequential([embedding(n, name), *dense])


class Model(tfrs.Model):
    def __init__(self):
        super().__init__()
        self.query, self.candidate = tower(users.max() + 1, "user"), tower(items.max() + 1, "item")
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, pair, training=False):
        return self.task(self.query(pair[0]), self.candidate(pair[1]), compute_metrics=False)


def optimizer():
    adagrad = tf.keras.optimizers.legacy.Adagrad(0.1)
    if tables == "static":
        return adagrad
    from tensorflow_recommenders_addons import dynamic_embedding as de

    return de.DynamicEmbeddingOptimizer(adagrad)


model = Model()
model.compile(optimizer=optimizer())
step = tf.function(lambda pair: model.train_step(pair))
starts = range(0, len(users) - batch + 1, batch)
data = [(tf.constant(users[at : at + batch]), tf.constant(items[at : at + batch])) for at in starts]
for i in range(warm_up_steps):
    result = step(data[i % len(data)])
rates = []
for _ in range(windows):
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        result = step(data[steps % len(data)])
        steps += 1
    float(result["loss"])
    rates.append(steps * batch / (time.perf_counter() - begin))
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(
    json.dumps(
        {
            "engine": "tensorflow " + tables,
            "batch": batch,
            "examplesPerSecond": round(sorted(rates)[windows // 2]),
            "peakRssBytes": rss,
        }
    )
)
