/**
 * Writes the vectors of a running service's items, and of its users as queries, as NumPy arrays:
 * `corpus.ts URL DIR [queries]`. A real corpus for `freshet bench index --vectors --queries`.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import * as z from 'zod'

import { type Points, writeNpy } from '../index-data.ts'

const [, , address = 'http://127.0.0.1:8080', directory = '.', count = '1000'] = process.argv
/** Requests under way. */
const atOnce = 32

const page = z.object({ items: z.array(z.object({ id: z.string() })), next: z.string().optional() })
const users = z.object({ users: z.array(z.object({ id: z.string() })) })
const embedding = z.object({ vector: z.array(z.number()) })

const ask = async (path: string): Promise<unknown> => {
  const answer = await fetch(`${address}${path}`)
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
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
