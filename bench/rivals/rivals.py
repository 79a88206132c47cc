"""ScaNN, faiss, hnswlib and usearch on the arrays that vectors.ts wrote: rivals.py DIR [library ...]

One query a call, one thread; builds with two threads. Median of five passes over the queries. One JSON object a
line: {library, setting, recall10, queriesPerSecond} for each point, {library, buildSeconds} for each index, and
{library, upsertsPerSecond, singleUpsertsPerSecond} where vectors can be replaced.
"""
import json, os, sys, time
import numpy as np

folder = sys.argv[1]
base, queries = (np.load(os.path.join(folder, name + ".npy")) for name in ("base", "queries"))
n, dim = base.shape
k = 10


def exact():
    path = os.path.join(folder, "truth.npy")
    if os.path.exists(path):
        return np.load(path)
    best = []
    for first in range(0, len(queries), 50):
        scores = queries[first : first + 50] @ base.T
        best.append(np.argpartition(-scores, k, axis=1)[:, :k])
    truth = np.concatenate(best)
    np.save(path, truth)
    return truth


truth = exact()


def say(**fields):
    print(json.dumps({name: round(v, 4) if isinstance(v, float) else v for name, v in fields.items()}), flush=True)


def measure(library, setting, search):
    found = [np.asarray(search(query)) for query in queries]
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(found, truth))
    passes = []
    for _ in range(5):
        begin = time.perf_counter()
        for query in queries:
            search(query)
        passes.append(time.perf_counter() - begin)
    rate = len(queries) / sorted(passes)[2]
    say(library=library, setting=setting, recall10=hits / truth.size, queriesPerSecond=rate)


def timed(build):
    begin = time.perf_counter()
    index = build()
    return index, time.perf_counter() - begin


def scann():
    from scann.scann_ops.py import scann_ops_pybind as ops

    leaves = max(32, int(np.sqrt(n)))
    samples = min(n, 250_000)

    def build():
        builder = ops.builder(base, k, "dot_product").set_n_training_threads(2)
        builder = builder.tree(leaves, 30, training_sample_size=samples)
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100)
        return builder.build(docids=[str(i) for i in range(n)])

    index, seconds = timed(build)
    say(library="scann", buildSeconds=seconds)
    index.set_num_threads(1)
    points = [(2, 50), (4, 100), (6, 100), (10, 100), (10, 200), (20, 200), (30, 300), (60, 500), (100, 500)]
    for searched, reorder in points:
        options = dict(final_num_neighbors=k, pre_reorder_num_neighbors=reorder, leaves_to_search=searched)
        measure("scann", f"leaves {searched}, reorder {reorder}", lambda q: [int(i) for i in index.search(q, **options)[0]])
    some = np.random.default_rng(1).permutation(n)[:20_000]
    names = [str(i) for i in some]
    begin = time.perf_counter()
    for at in range(0, len(some), 256):
        index.upsert(names[at : at + 256], base[some[at : at + 256]], batch_size=256)
    batched = len(some) / (time.perf_counter() - begin)
    begin = time.perf_counter()
    for i in range(2_000):
        index.upsert(names[i], base[some[i]])
    say(library="scann", upsertsPerSecond=batched, singleUpsertsPerSecond=2_000 / (time.perf_counter() - begin))


def faiss():
    import faiss as library

    library.omp_set_num_threads(2)
    lists = max(32, int(np.sqrt(n)))

    def build():
        index = library.index_factory(dim, f"IVF{lists},PQ{dim // 2}x4fs,RFlat", library.METRIC_INNER_PRODUCT)
        index.train(base[: 250_000])
        index.add(base)
        return index

    index, seconds = timed(build)
    say(library="faiss IVF-PQ fast scan", buildSeconds=seconds)
    library.omp_set_num_threads(1)
    inner = library.downcast_index(index.base_index)
    for probes, factor in [(2, 10), (4, 10), (8, 10), (8, 20), (16, 20), (32, 20), (32, 50), (64, 50)]:
        inner.nprobe, index.k_factor = probes, factor
        measure("faiss IVF-PQ fast scan", f"probes {probes}, factor {factor}", lambda q: index.search(q[None], k)[1][0])


def hnswlib():
    import hnswlib as library

    def build():
        index = library.Index("ip", dim)
        index.init_index(n, ef_construction=200, M=16)
        index.add_items(base, np.arange(n), num_threads=2)
        return index

    index, seconds = timed(build)
    say(library="hnswlib", buildSeconds=seconds)
    for ef in [10, 20, 40, 60, 100, 160, 320]:
        index.set_ef(ef)
        measure("hnswlib", f"ef {ef}", lambda q: index.knn_query(q, k, num_threads=1)[0][0])
    some = np.random.default_rng(1).permutation(n)[:1_000]
    begin = time.perf_counter()
    index.add_items(base[some], some, num_threads=1)
    say(library="hnswlib", upsertsPerSecond=len(some) / (time.perf_counter() - begin))


def usearch():
    from usearch.index import Index

    def build():
        index = Index(ndim=dim, metric="ip", dtype="f32", connectivity=16, expansion_add=128)
        index.add(np.arange(n), base, threads=2)
        return index

    index, seconds = timed(build)
    say(library="usearch", buildSeconds=seconds)
    for ef in [10, 20, 40, 60, 100, 160, 320]:
        index.expansion_search = ef
        measure("usearch", f"ef {ef}", lambda q: index.search(q, k, threads=1).keys)
    some = np.random.default_rng(1).permutation(n)[:1_000]
    begin = time.perf_counter()
    index.remove(some, threads=1)
    index.add(some, base[some], threads=1)
    say(library="usearch", upsertsPerSecond=len(some) / (time.perf_counter() - begin))


libraries = {"scann": scann, "faiss": faiss, "hnswlib": hnswlib, "usearch": usearch}
for name in sys.argv[2:] or libraries:
    libraries[name]()
