/**
 * What keeps the trees over a flat index in shape, a little at a time: growing one when there are
 * enough items, auditing it, choosing the effort, letting centroids follow their members, growing
 * the next one when the catalogue has become another or the tree answers badly.
 *
 * Two tasks, each a generator that yields how many vectors' worth of work a step was: one grows and
 * audits trees, the other puts right the one that answers. What takes long - the growing itself,
 * exact answers - is ordered from `Background`, for which the first task waits, and yields 0.
 */
import type { TreeStats } from './ann-index.ts'
import type { Answers, Background, Order } from './background.ts'
import type { FlatIndex } from './flat-index.ts'
import type { IndexMemory } from './index-memory.ts'
import type { QueryRing } from './query-ring.ts'
import { type AuditReport, leastEffort } from './recall-audit.ts'
import { restoreTree, type TreeImage } from './tree-image.ts'
import type { TreeEffort } from './tree-search.ts'
import { type Tree, treeChunk } from './tree.ts'

export interface UpkeepOptions {
  readonly flat: FlatIndex
  readonly memory: IndexMemory
  readonly background: Background
  readonly queries: QueryRing
  readonly effortOf: (tree: Tree, k: number, effort: number) => TreeEffort
  readonly leavesFor: (items: number) => number
  /** Up to so many items there is no tree. */
  readonly flatBelow: number
  readonly recallTarget: number
}

/** A leaf of so many times the mean is parted, with the help of one of so few. */
const [crowded, deserted] = [4, 1 / 3]
/** A tree is grown anew when it takes so much more effort to hold the recall than at first. */
const effortRise = 0.1
/** Before an audit has spoken. */
const firstEffort = 0.35
/** A tree is grown anew when items have changed by this factor. */
const itemsFactor = 2
/**
 * Between two audits so many of all vectors change, or fewer and some queries are asked, which may
 * be of another kind: each counts as so many vectors.
 */
const auditShare = 1 / 2
const queryChanges = 8
/** Between two rounds in which centroids follow their members. */
const followShare = 1 / 2
/** Vectors placed between two looks at which leaves are crowded. */
const weighedEvery = 256
/** As few queries as it takes to trust an audit. */
const fewQueries = 64
/** A new tree may take so much more effort than the old one, within an audit's noise. */
const tolerance = 0.05
/** A tree whose recall is below the target by more does not answer, whatever it costs. */
const grace = 0.3
/** Of all vectors, what must have changed before another tree is tried for the same catalogue. */
const regrowShare = 1 / 4
/**
 * A tree that takes more effort was grown for vectors that had not yet found their places. Another
 * is tried when as many have changed as there are, then twice as many, and so on.
 */
const poorEffort = 0.4

/**
 * Invariants: `tree` holds exactly the flat index's ids; `#next` is the tree that is being grown or
 * judged, the one of the two that does not answer. What changes while it is grown is marked in
 * `changed`; from `#isJoined` on changes go into it at once, and once the marks are taken it holds
 * the same ids.
 */
export class TreeUpkeep {
  #options: UpkeepOptions
  #tree: Tree | undefined
  #next: Tree | undefined
  #isJoined = false
  /** Growing or auditing. */
  #task: Generator<number, void> | undefined
  /** Putting right. */
  #care: Generator<number, void> | undefined
  #effort = firstEffort
  #recall = -1
  #grown = 0
  #rejected = 0
  /** Items when the tree was grown or last tried again. */
  #grownItems = 0
  /** The least effort that held the target then. */
  #grownEffort = 1
  /** Whether nobody had asked anything then: it was grown for towers that had hardly learned. */
  #isProvisional = false
  #changesSinceGrown = 0
  /** Trees in a row that took much effort. */
  #poorTrees = 0
  /** Whether somebody wants the next tree, whatever is said for it. */
  #isAsked = false
  /** Vectors changed since the last audit, and queries asked before it. */
  #changes = 0
  #audited = 0
  /** Since the last round over the leaves. */
  #moved = 0
  /** Since leaves were weighed. */
  #unweighed = 0
  /** The leaf that is visited next. */
  #leafAt = 0

  constructor(options: UpkeepOptions) {
    this.#options = options
  }

  /** What answers; undefined: the flat index does, as soon as there are few items. */
  get tree(): Tree | undefined {
    return this.#areFew ? undefined : this.#tree
  }

  get #areFew(): boolean {
    return this.#options.flat.size < this.#options.flatBelow / 2
  }

  get effort(): number {
    return this.#effort
  }

  /** Whether a tree waits to take over, or the one that answers is badly coded. */
  get isPressing(): boolean {
    if (this.#isJoined) return true
    return this.#tree?.isStrayed(this.#options.flat.size) ?? false
  }

  /** Whether no tree is there, nor one on its way. */
  get isIdle(): boolean {
    return this.#tree === undefined && this.#task === undefined && this.#care === undefined
  }

  /** Takes care of another memory, with the same vectors. For an idle one. */
  moveTo(flat: FlatIndex, memory: IndexMemory): void {
    this.#options = { ...this.#options, flat, memory }
  }

  /** Asks for the next tree; where there are too few items for one there is nothing to do. */
  regrow(): void {
    this.#isAsked = true
  }

  get isRegrowing(): boolean {
    return this.#isAsked || this.#next !== undefined
  }

  stats(): TreeStats {
    return {
      leaves: this.#tree?.leafLimit ?? 0,
      largestLeaf: this.#tree?.largestLeaf ?? 0,
      effort: this.#effort,
      recall: this.#recall,
      grown: this.#grown,
      rejected: this.#rejected,
      isGrowing: this.#next !== undefined,
    }
  }

  /** Which of the two trees answers, and at what effort; undefined: none. */
  get answering(): { readonly tree: 0 | 1; readonly effort: number } | undefined {
    if (this.tree === undefined) return undefined
    return { tree: this.#tree === this.#options.memory.trees[0] ? 0 : 1, effort: this.#effort }
  }

  /** Takes over a tree that was saved, for an index that is empty yet and will have `items`. */
  restore(image: TreeImage, { effort, items }: { effort: number; items: number }): void {
    const [tree] = this.#options.memory.trees
    restoreTree(tree, image)
    tree.grownItems = items
    this.#answerBy(tree)
    this.#effort = effort
    this.#grownEffort = effort
    this.#grownItems = items
  }

  /** Of that tree, also while there are few items; 0: there is none. */
  get leafLimit(): number {
    return this.#tree?.leafLimit ?? 0
  }

  /** Ids and the leaves that they were in; -1: none. */
  restoreItems(ids: Int32Array, leaves: Int32Array): void {
    for (let from = 0; from < ids.length; from += treeChunk) {
      const [some, into] = [ids, leaves].map((all) => all.subarray(from, from + treeChunk))
      this.#tree?.putBack(some, into)
    }
  }

  /** Ids whose vectors are new or others. */
  changed(ids: Int32Array): void {
    this.#changes += ids.length
    this.#changesSinceGrown += ids.length
    this.#moved += ids.length
    this.#unweighed += ids.length
    if (this.#unweighed >= weighedEvery) {
      this.#unweighed = 0
      this.#tree?.weigh()
    }
    for (let from = 0; from < ids.length; from += treeChunk) {
      const part = ids.subarray(from, from + treeChunk)
      this.#tree?.update(part)
      if (this.#isJoined) this.#next?.update(part)
    }
    this.#mark(ids)
  }

  tailsChanged(ids: Int32Array): void {
    this.#tree?.refreshTails(ids)
    if (this.#isJoined) this.#next?.refreshTails(ids)
    this.#mark(ids)
  }

  removed(ids: Int32Array): void {
    this.#tree?.remove(ids)
    if (this.#isJoined) this.#next?.remove(ids)
    this.#mark(ids)
  }

  /** For whoever is growing a tree: after the change. */
  #mark(ids: Int32Array): void {
    if (this.#next !== undefined && !this.#isJoined) this.#options.memory.changed.mark(ids)
  }

  /** Does some `vectors` vectors' worth of work, if there is any; returns how much it did. */
  work(vectors: number): number {
    const { background } = this.#options
    let done = 0
    while (done < vectors) {
      const step = background.step() || this.#advance() || this.#takeCare()
      if (step === 0) break
      done += step
    }
    return done
  }

  #advance(): number {
    this.#task ??= this.#nextTask()
    const step = this.#task?.next()
    if (step?.done !== true) return step?.value ?? 0
    this.#task = undefined
    return 1
  }

  #takeCare(): number {
    this.#care ??= this.#nextCare()
    const step = this.#care?.next()
    if (step?.done !== true) return step?.value ?? 0
    this.#care = undefined
    return 1
  }

  #nextTask(): Generator<number, void> | undefined {
    const items = this.#options.flat.size
    const { flatBelow } = this.#options
    if (this.#areFew) this.#answerBy(undefined)
    const isFlat = items <= flatBelow && this.#tree === undefined
    if (isFlat) this.#isAsked = false
    if (isFlat) return undefined
    if (this.#isAsked || this.#isOutgrown(items)) return this.#grow(items)
    return this.#tree !== undefined && this.#isAuditDue(items) ? this.#audit() : undefined
  }

  #nextCare(): Generator<number, void> | undefined {
    const items = this.#options.flat.size
    if (this.#tree === undefined) return undefined
    if (this.#tree.isStrayed(items)) return this.#tree.rescale()
    return this.#moved > items * followShare ? this.#follow(this.#tree) : undefined
  }

  /** Has something done elsewhere, and waits for it. */
  *#order(order: Order): Generator<number, Answers> {
    const { background } = this.#options
    background.begin(order)
    yield 1
    for (;;) {
      const answers = background.take()
      if (answers !== undefined) return answers
      yield 0
    }
  }

  /** Whether the next tree is due: never twice for the same vectors. */
  #isOutgrown(items: number): boolean {
    const most = Math.max(items, this.#grownItems)
    if (most > itemsFactor * Math.min(items, this.#grownItems)) return true
    if (this.#changesSinceGrown < items * regrowShare) return false
    if (this.#isProvisional && this.#options.queries.size >= fewQueries) return true
    if (this.#tree === undefined || this.#effort > this.#grownEffort + effortRise) return true
    return this.#effort > poorEffort && this.#changesSinceGrown > items * 2 ** this.#poorTrees
  }

  #isAuditDue(items: number): boolean {
    if (this.#options.queries.size < fewQueries) return false
    const asked = this.#options.queries.asked - this.#audited
    return this.#recall < 0 || this.#changes + asked * queryChanges > items * auditShare
  }

  *#grow(items: number): Generator<number, void> {
    const { memory, flat, leavesFor } = this.#options
    const { trees, changed } = memory
    const tree = this.#tree === trees[0] ? 1 : 0
    this.#isAsked = false
    this.#grownItems = items
    this.#changesSinceGrown = 0
    changed.clear()
    this.#next = trees[tree]
    trees[tree].grownItems = items
    const leaves = leavesFor(items)
    yield* this.#order({ kind: 'grow', tree, leaves, items, idLimit: flat.idLimit })
    yield* this.#adopt(trees[tree])
    yield* this.#judge(trees[tree])
    this.#next = undefined
    this.#isJoined = false
    this.#grownEffort = this.#effort
    this.#poorTrees = this.#effort > poorEffort && !this.#isProvisional ? this.#poorTrees + 1 : 0
  }

  /** Brings a grown tree up to date: from now on changes go into both. */
  *#adopt(next: Tree): Generator<number, void> {
    const { memory, flat } = this.#options
    this.#isJoined = true
    for (const ids of memory.changed.take()) {
      next.settle(ids, (id) => flat.has(id))
      yield ids.length
    }
  }

  /** Lets the new tree take over unless the old one needs less effort, or flat search is better. */
  *#judge(next: Tree): Generator<number, void> {
    const { queries, recallTarget } = this.#options
    this.#isProvisional = queries.size < fewQueries
    if (this.#isProvisional) {
      // Nobody has asked anything yet: there is nothing to audit it with.
      this.#answerBy(next)
      this.#grown += 1
      return
    }
    const found = yield* this.#auditOf(next)
    const before = this.#tree && (yield* this.#auditOf(this.#tree))
    const isGood = found.recall >= recallTarget - grace
    const isBetter = before === undefined || found.effort <= before.effort + tolerance
    if (isGood && isBetter) {
      this.#answerBy(next)
      this.#grown += 1
      this.#take(found)
    } else {
      this.#rejected += 1
      if (before !== undefined) this.#take(before)
    }
  }

  *#audit(): Generator<number, void> {
    if (this.#tree !== undefined) this.#take(yield* this.#auditOf(this.#tree))
  }

  /** What the audit of the tree that answers says; too bad a one answers no more. */
  #take({ effort, recall }: AuditReport): void {
    this.#effort = effort
    this.#recall = recall
    if (recall < this.#options.recallTarget - grace) this.#answerBy(undefined)
  }

  #answerBy(tree: Tree | undefined): void {
    // What cared for the one before must not go on: its memory may soon be a grower's.
    if (this.#tree !== tree) this.#care = undefined
    this.#tree = tree
  }

  *#auditOf(tree: Tree): Generator<number, AuditReport> {
    const { flat, memory, queries, effortOf, recallTarget: target } = this.#options
    this.#changes = 0
    this.#audited = queries.asked
    const scoresOf = (query: Float32Array, ids: Int32Array): Float32Array => flat.scores(query, ids)
    const subject = { tree, search: memory.audit, effortOf, scoresOf }
    const asked = {
      queries: queries.vectors,
      answersOf: (some: readonly Float32Array[]) => this.#answersOf(some),
    }
    return yield* leastEffort(subject, asked, { target, from: this.#effort })
  }

  *#answersOf(queries: readonly Float32Array[]): Generator<number, Answers> {
    const { flat } = this.#options
    const answers = yield* this.#order({ kind: 'answers', queries, idLimit: flat.idLimit })
    // What has been removed since is nobody's fault.
    return answers.map((ids) => ids.filter((id) => flat.has(id)))
  }

  /** Once around: each leaf's centroid goes to its members' mean, and they to their nearest. */
  *#follow(tree: Tree): Generator<number, void> {
    this.#moved = 0
    for (let visited = 0; visited < tree.leafLimit; visited += 1) {
      const leaf = this.#leafAt % tree.leafLimit
      this.#leafAt = leaf + 1
      yield 1
      yield* tree.recenter(leaf)
      const mean = this.#options.flat.size / tree.leafLimit
      if (tree.memory.sizes[leaf] > mean * crowded) yield* tree.split(leaf, mean * deserted)
    }
  }
}
