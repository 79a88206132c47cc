"""ScaNN, faiss, hnswlib and usearch on the arrays that vectors.ts wrote: rivals.py DIR LIBRARY

One query a call, one thread; builds with two threads. Each pass of a rival over the queries is followed by one of
freshet's (turns.ts), at the least effort that finds as many, so that both have the same machine, however busy it is;
figures are medians, and ratios are of the processor's time that each took. JSON lines in DIR/LIBRARY.jsonl:
{buildSeconds}, then for each setting {setting, recall10, queriesPerSecond, ownQueriesPerSecond} with freshet's beside
them, and {upsertsPerSecond}, {singleUpsertsPerSecond} where vectors can be replaced; the last is {done}.
"""
import json, os, subprocess, sys, time
import numpy as np

folder, name = sys.argv[1:3]
here = os.path.dirname(os.path.abspath(__file__))
base, queries = (np.load(os.path.join(folder, array + ".npy")) for array in ("base", "queries"))
n, dim = base.shape
k = 10
passes = 5
output = open(os.path.join(folder, name + ".jsonl"), "w")


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


def say(**fields):
    rounded = {field: round(v, 4) if isinstance(v, float) else v for field, v in fields.items()}
    print(json.dumps({"library": name, **rounded}), file=output, flush=True)
    print(json.dumps(rounded), flush=True)


class Freshet:
    def __init__(self):
        command = ["node", "--v8-pool-size=1", os.path.join(here, "turns.ts"), folder]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while "ready" not in self.line():
            pass

    def line(self):
        line = self.process.stdout.readline()
        if line == "":
            raise RuntimeError("turns.ts ended")
        return json.loads(line)

    def turn(self, order):
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        return self.line()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


truth = exact()
freshet = None
median = lambda values: sorted(values)[len(values) // 2]


def measure(setting, search):
    global freshet
    freshet = freshet or Freshet()
    found = [np.asarray(search(query)) for query in queries]
    recall = sum(len(np.intersect1d(a, b)) for a, b in zip(found, truth)) / truth.size
    freshet.turn(recall)
    clock, own, others = [], [], []
    for _ in range(passes):
        begin, ran = time.perf_counter(), time.thread_time()
        for query in queries:
            search(query)
        clock.append(time.perf_counter() - begin)
        own.append(time.thread_time() - ran)
        others.append(freshet.turn(recall))
    q = len(queries)
    say(
        setting=setting,
        recall10=recall,
        queriesPerSecond=q / median(clock),
        ownQueriesPerSecond=q / median(own),
        freshetRecall10=others[0]["recall10"],
        freshetQueriesPerSecond=q / median([turn["seconds"] for turn in others]),
        freshetOwnQueriesPerSecond=q / median([turn["ownSeconds"] for turn in others]),
        ratio=median([mine / turn["ownSeconds"] for mine, turn in zip(own, others)]),
    )


def upserts(field, batch, count, work):
    """A second of one processor, and freshet's turn at the same."""
    ran = time.process_time()
    work()
    rate = count / (time.process_time() - ran)
    turn = freshet.turn(f"upserts {batch}")
    say(**{field: rate, "freshet" + field[0].upper() + field[1:]: turn["upsertsPerSecond"]})


def timed(build):
    begin, ran = time.perf_counter(), time.process_time()
    index = build()
    say(buildSeconds=time.perf_counter() - begin, buildOwnSeconds=time.process_time() - ran)
    return index


def scann():
    from scann.scann_ops.py import scann_ops_pybind as ops

    leaves = max(32, int(np.sqrt(n)))
    samples = min(n, 250_000)

    def build():
        builder = ops.builder(base, k, "dot_product").set_n_training_threads(2)
        builder = builder.tree(leaves, 30, training_sample_size=samples)
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100)
        return builder.build(docids=[str(i) for i in range(n)])

    index = timed(build)
    index.set_num_threads(1)
    for searched, reorder in [(6, 100), (10, 100), (10, 200), (20, 200), (30, 300), (60, 500)]:
        options = dict(final_num_neighbors=k, pre_reorder_num_neighbors=reorder, leaves_to_search=searched)
        measure(f"leaves {searched}, reorder {reorder}", lambda q: [int(i) for i in index.search(q, **options)[0]])
    some = np.random.default_rng(1).permutation(n)[:20_000]
    names = [str(i) for i in some]

    def batched():
        for at in range(0, len(some), 256):
            index.upsert(names[at : at + 256], base[some[at : at + 256]], batch_size=256)

    def single():
        for i in range(2_000):
            index.upsert(names[i], base[some[i]])

    upserts("upsertsPerSecond", 256, len(some), batched)
    upserts("singleUpsertsPerSecond", 1, 2_000, single)


def faiss():
    import faiss as library

    library.omp_set_num_threads(2)
    lists = max(32, int(np.sqrt(n)))

    def build():
        index = library.index_factory(dim, f"IVF{lists},PQ{dim // 2}x4fs,RFlat", library.METRIC_INNER_PRODUCT)
        index.train(base[:250_000])
        index.add(base)
        return index

    index = timed(build)
    library.omp_set_num_threads(1)
    inner = library.downcast_index(index.base_index)
    for probes, factor in [(4, 20), (8, 20), (16, 20), (8, 50), (16, 50), (32, 50), (64, 50)]:
        inner.nprobe, index.k_factor = probes, factor
        measure(f"probes {probes}, factor {factor}", lambda q: index.search(q[None], k)[1][0])


def hnswlib():
    import hnswlib as library

    saved = os.path.join(folder, "hnswlib.index")
    index = library.Index("ip", dim)

    def build():
        index.init_index(n, ef_construction=200, M=16)
        index.add_items(base, np.arange(n), num_threads=2)
        index.save_index(saved)

    resume(saved, index.load_index, build)
    for ef in [10, 20, 40, 60, 100, 160]:
        index.set_ef(ef)
        measure(f"ef {ef}", lambda q: index.knn_query(q, k, num_threads=1)[0][0])
    some = np.random.default_rng(1).permutation(n)[:1_000]
    upserts("upsertsPerSecond", 256, len(some), lambda: index.add_items(base[some], some, num_threads=1))


def usearch():
    from usearch.index import Index

    saved = os.path.join(folder, "usearch.index")
    index = Index(ndim=dim, metric="ip", dtype="f32", connectivity=16, expansion_add=128)

    def build():
        index.add(np.arange(n), base, threads=2)
        index.save(saved)

    resume(saved, index.load, build)
    for ef in [10, 20, 40, 60, 100, 160]:
        index.expansion_search = ef
        measure(f"ef {ef}", lambda q: index.search(q, k, threads=1).keys)
    some = np.random.default_rng(1).permutation(n)[:1_000]

    def replace():
        index.remove(some, threads=1)
        index.add(some, base[some], threads=1)

    upserts("upsertsPerSecond", 256, len(some), replace)


def resume(saved, load, build):
    """Graphs take minutes to build: one that a run before this one saved is taken, with what it took then."""
    took = saved + ".seconds"
    if os.path.exists(took):
        load(saved)
        say(**json.load(open(took)))
        return
    begin, ran = time.perf_counter(), time.process_time()
    build()
    seconds = dict(buildSeconds=time.perf_counter() - begin, buildOwnSeconds=time.process_time() - ran)
    json.dump(seconds, open(took, "w"))
    say(**seconds)


{"scann": scann, "faiss": faiss, "hnswlib": hnswlib, "usearch": usearch}[name]()
freshet.close()
say(done=True)
