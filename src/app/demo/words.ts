/** What the simulated shop sells: categories with their nouns, styles with their words, makers. */
export interface Category {
  readonly name: string
  readonly nouns: readonly string[]
}

export interface Style {
  readonly name: string
  readonly words: readonly string[]
}

const category = (name: string, ...nouns: readonly string[]): Category => ({ name, nouns })
const style = (name: string, ...words: readonly string[]): Style => ({ name, words })

export const categories: readonly Category[] = [
  category('jackets', 'parka', 'jacket', 'windbreaker', 'anorak'),
  category('shoes', 'boots', 'sneakers', 'loafers', 'sandals'),
  category('bags', 'backpack', 'tote', 'satchel', 'duffel'),
  category('kitchen', 'kettle', 'skillet', 'teapot', 'colander'),
  category('knives', 'paring knife', 'cleaver', 'bread knife', 'whetstone'),
  category('lamps', 'desk lamp', 'lantern', 'floor lamp', 'pendant'),
  category('chairs', 'stool', 'armchair', 'rocker', 'bench'),
  category('textiles', 'blanket', 'rug', 'curtain', 'cushion'),
  category('garden', 'trowel', 'planter', 'rake', 'watering can'),
  category('bicycles', 'saddle', 'pannier', 'bell', 'helmet'),
  category('camping', 'tent', 'hammock', 'stove', 'sleeping bag'),
  category('music', 'ukulele', 'metronome', 'tuner', 'drum pad'),
  category('audio', 'headphones', 'speaker', 'turntable', 'radio'),
  category('photo', 'tripod', 'lens', 'camera strap', 'light meter'),
  category('games', 'board game', 'puzzle', 'card deck', 'chess set'),
  category('stationery', 'notebook', 'fountain pen', 'ink', 'planner'),
  category('paints', 'watercolours', 'easel', 'brush set', 'sketchbook'),
  category('coffee', 'grinder', 'espresso cup', 'moka pot', 'beans'),
  category('tea', 'oolong', 'matcha', 'infuser', 'teacup'),
  category('fitness', 'dumbbell', 'yoga mat', 'kettlebell', 'skipping rope'),
  category('baby', 'rattle', 'sling', 'crib mobile', 'bib'),
  category('pets', 'dog bed', 'cat tree', 'leash', 'feeder'),
  category('watches', 'wristwatch', 'alarm clock', 'pocket watch', 'wall clock'),
  category('tools', 'hammer', 'plane', 'chisel', 'spirit level'),
]

export const styles: readonly Style[] = [
  style('classic', 'classic', 'timeless', 'heritage'),
  style('minimal', 'minimal', 'plain', 'slim'),
  style('rugged', 'rugged', 'heavy-duty', 'weatherproof'),
  style('playful', 'playful', 'colourful', 'striped'),
  style('luxury', 'luxury', 'gilded', 'handmade'),
  style('compact', 'compact', 'folding', 'pocket'),
]

export const makers: readonly string[] = [
  'by Alba',
  'by Norden',
  'by Kite',
  'by Juno',
  'by Marlow',
  'by Ostra',
  'by Pell',
  'by Quill',
  'by Rook',
  'by Sable',
  'by Tarn',
  'by Umber',
  'by Vela',
  'by Wren',
  'by Yarrow',
  'by Zephyr',
]
