/**
 * Writes the vectors of a running service's items, and of its users as queries, as NumPy arrays:
 * `corpus.ts URL DIR [queries]`. A real corpus for `freshet bench index --vectors --queries`.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

import * as z from 'zod'

import { type Points, writeNpy } from '../index-data.ts'

const [, , address = 'http://127.0.0.1:8080', directory = '.', count = '1000'] = process.argv
/** Requests under way. */
const atOnce = 32
const [tries, pauseMs] = [50, 200]

const page = z.object({ items: z.array(z.object({ id: z.string() })), next: z.string().optional() })
const users = z.object({ users: z.array(z.object({ id: z.string() })) })
const embedding = z.object({ vector: z.array(z.number()) })

/** A service that has too much to do is asked again. */
async function ask(path: string): Promise<unknown> {
  for (let left = tries; ; left -= 1) {
    const answer = await fetch(`${address}${path}`)
    if (answer.ok) return answer.json()
    if (answer.status !== 503 || left === 0) throw new Error(`${path}: ${await answer.text()}`)
    await pause(pauseMs)
  }
}

async function itemIds(): Promise<readonly string[]> {
  const ids: string[] = []
  for (let cursor: string | undefined = ''; cursor !== undefined;) {
    const found = page.parse(await ask(`/v1/items?limit=1000${cursor && `&cursor=${cursor}`}`))
    for (const { id } of found.items) ids.push(id)
    cursor = found.next
  }
  return ids
}

async function vectors(kind: 'items' | 'users', ids: readonly string[]): Promise<Points> {
  const rows: number[][] = []
  for (let from = 0; from < ids.length; from += atOnce) {
    const paths = ids
      .slice(from, from + atOnce)
      .map((id) => `/v1/${kind}/${encodeURIComponent(id)}/embedding`)
    for (const found of await Promise.all(paths.map(ask))) rows.push(embedding.parse(found).vector)
  }
  const dim = rows[0]?.length ?? 0
  return { n: rows.length, dim, values: Float32Array.from(rows.flat()) }
}

mkdirSync(directory, { recursive: true })
writeNpy(join(directory, 'base.npy'), await vectors('items', await itemIds()))
const asked = users.parse(await ask(`/v1/users?limit=${count}`)).users.map(({ id }) => id)
writeNpy(join(directory, 'queries.npy'), await vectors('users', asked))
