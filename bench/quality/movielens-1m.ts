/**
 * MovieLens 1M as two protocols want it. `ncf.csv`: users from 0 and films numbered as they first
 * come, the names that the file of given negatives uses. `core5.csv`: films with five ratings or
 * more. The time is the place in the user's own order, which is known for everybody.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

interface Rating {
  readonly user: number
  readonly film: string
  readonly place: number
}

const fewest = 5

function ratings(file: string): readonly Rating[] {
  const lines = gunzipSync(readFileSync(file)).toString('utf8').trim().split('\n').slice(1)
  return lines.map((line) => {
    const [user = '', film = '', , place = ''] = line.split(',')
    return { user: Number(user), film, place: Number(place) }
  })
}

/** Writes both files into `folder`. */
export function prepareMovieLens1M(file: string, folder: string): void {
  const all = ratings(file)
  const numbers = new Map<string, number>()
  const counts = new Map<string, number>()
  for (const { film } of all) {
    if (!numbers.has(film)) numbers.set(film, numbers.size)
    counts.set(film, (counts.get(film) ?? 0) + 1)
  }
  const write = (name: string, rows: readonly string[]): void =>
    writeFileSync(join(folder, name), `${['user,item,time', ...rows].join('\n')}\n`)
  write(
    'ncf.csv',
    all.map(({ user, film, place }) => `${user - 1},${numbers.get(film) ?? -1},${place}`),
  )
  write(
    'core5.csv',
    all
      .filter(({ film }) => (counts.get(film) ?? 0) >= fewest)
      .map(({ user, film, place }) => `${user},${film},${place}`),
  )
}
