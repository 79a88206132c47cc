/** The published protocols that freshet is held against, each with its committed configuration. */

/** What it reaches elsewhere, and what it is to reach here: the metric's name and its least mean. */
interface Goal {
  readonly metric: string
  readonly atLeast: number
  readonly published: string
}

export interface Protocol {
  readonly name: string
  readonly title: string
  /** The flags of `freshet evaluate` for one seed; `prepared`: where the files made anew are. */
  readonly flags: (seed: number, prepared: string) => readonly string[]
  readonly seeds: readonly number[]
  readonly goals: readonly Goal[]
}

/** Beside the project, never in it: research use only. */
export const dataFolder = '../shared/data'

const ml100k = (config: string, seed: number, ...more: readonly string[]): readonly string[] => [
  '--config',
  `bench/quality/${config}.yaml`,
  '--data',
  `${dataFolder}/ml-100k/u.data`,
  '--titles',
  `${dataFolder}/ml-100k/u.item`,
  '--split',
  `random:80000/20000:${seed}`,
  ...more,
]

const ml1m = (config: string, file: string, seed: number): readonly string[] => [
  '--config',
  `bench/quality/${config}.yaml`,
  '--set',
  `model.seed=${seed}`,
  '--data',
  file,
  '--columns',
  'user=user,item=item,time=time:ms',
]

/** He et al. 2017: the last of every user against 99 others that the file names. */
const given = ['--split', 'given', '--negatives', `${dataFolder}/ml-1m/ncf.ml-1m.test.negative.gz`]

export const protocols: readonly Protocol[] = [
  {
    name: 'ml-100k',
    title: 'ML-100K, all films ranked',
    flags: (seed) => ml100k('ml-100k', seed),
    seeds: [42, 43, 44],
    goals: [
      { metric: 'hr10', atLeast: 0.0575, published: '.0219 tutorial, .0573 tuned' },
      { metric: 'hr100', atLeast: 0.41, published: '.2322 tutorial, .4093 tuned' },
    ],
  },
  {
    name: 'ml-100k-unseen',
    title: 'ML-100K, train items left out',
    flags: (seed) => ml100k('ml-100k-unseen', seed, '--mask-train'),
    seeds: [42, 43, 44],
    goals: [
      { metric: 'hr10', atLeast: 0.165, published: '.053 tutorial, .165 tuned' },
      { metric: 'hr100', atLeast: 0.615, published: '.341 tutorial, .634 tuned' },
    ],
  },
  {
    name: 'ml-1m-titles',
    title: 'ML-1M, a random tenth, user id and title, all films ranked',
    flags: (seed) => [
      '--config',
      'bench/quality/ml-1m-titles.yaml',
      '--data',
      `${dataFolder}/ml-1m/interactions_all.csv.gz`,
      '--columns',
      'user=user_id,item=movie_id,time=pos_in_user_time_order:ms',
      '--titles',
      `${dataFolder}/ml-1m/movies.dat`,
      '--split',
      `random:900188/100021:${seed}`,
    ],
    seeds: [42, 43, 44],
    goals: [{ metric: 'hr100', atLeast: 0.1338, published: '.1338 and .1245 notebook' }],
  },
  {
    name: 'ml-1m-ids',
    title: 'ML-1M, 99 given negatives, ids alone',
    flags: (seed, prepared) => [...ml1m('ml-1m-ids', `${prepared}/ncf.csv`, seed), ...given],
    seeds: [1, 2, 3],
    goals: [
      { metric: 'hr10', atLeast: 0.715, published: '.7120 NeuMF, .7161 SLIM' },
      { metric: 'ndcg10', atLeast: 0.44, published: '.4369 NeuMF, .4470 SLIM' },
    ],
  },
  {
    name: 'ml-1m-history',
    title: 'ML-1M, 99 given negatives, ordered history',
    flags: (seed, prepared) => [...ml1m('ml-1m-history', `${prepared}/ncf.csv`, seed), ...given],
    seeds: [1, 2, 3],
    goals: [
      { metric: 'hr10', atLeast: 0.8, published: 'other information than above' },
      { metric: 'ndcg10', atLeast: 0.59, published: '' },
    ],
  },
  {
    name: 'ml-1m-sequences',
    title: 'ML-1M sequences, last of every user, all unseen ranked',
    flags: (seed, prepared) => [
      ...ml1m('ml-1m-history', `${prepared}/core5.csv`, seed),
      '--split',
      'leave-one-out',
      '--mask-train',
    ],
    seeds: [1, 2, 3],
    goals: [
      { metric: 'recall10', atLeast: 0.3, published: '.2821 BERT4Rec' },
      { metric: 'ndcg10', atLeast: 0.173, published: '.1516 BERT4Rec' },
    ],
  },
]
