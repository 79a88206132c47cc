/**
 * What tests fetch once and keep, under `node_modules/.cache`. Test files run beside each other and
 * may want the same thing: each fetches into a folder of its own and renames that, so what stands
 * under the final name is whole and is never written again.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

export const caches = resolve(import.meta.dirname, '../../node_modules/.cache')

function renameUnlessThere(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if (!existsSync(to)) throw error
  }
}

/** `<caches>/<name>`, which `fetch` fills, given a folder, where it is not there yet. */
export function cached(name: string, fetch: (folder: string) => void): string {
  const folder = join(caches, name)
  if (existsSync(folder)) return folder
  const partial = join(dirname(folder), `.${process.pid}`)
  mkdirSync(partial, { recursive: true })
  try {
    fetch(partial)
    renameUnlessThere(partial, folder)
  } finally {
    rmSync(partial, { recursive: true, force: true })
  }
  return folder
}
