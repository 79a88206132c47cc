/** Where a version's own files lie, and the configuration that makes the process its process. */
import { readdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'

import type { Config } from '../config/config-schema.ts'
import { dataPaths } from '../options.ts'
import type { VersionEntry, VersionList } from './version-list.ts'

const folder = 'versions'

/** Under which processes that share versions find each other: parameters of the first lie there. */
export const familyTag = ({ model, process }: Config): string => process.redis.tag ?? model.name

/** As if there were this version alone, with a directory, and names in Redis, of its own. */
export function configOf(config: Config, { folder: own, model }: VersionEntry): Config {
  const { process } = config
  const { tables, redis, kafka, checkpoints } = process
  const family = familyTag(config)
  if (own === '') return { model, process: { ...process, redis: { ...redis, tag: family } } }
  const name = basename(own)
  const rows = `${tables.redis.tag ?? config.model.name}-${name}`
  const { group } = kafka
  const { prefix } = checkpoints.s3
  return {
    model,
    process: {
      ...process,
      dataDirectory: join(process.dataDirectory, own),
      tables: { ...tables, redis: { ...tables.redis, tag: rows } },
      redis: { ...redis, tag: `${family}-${name}` },
      ...(group !== undefined && { kafka: { ...kafka, group: `${group}-${name}` } }),
      ...(prefix !== undefined && {
        checkpoints: {
          ...checkpoints,
          s3: { ...checkpoints.s3, prefix: `${prefix.slice(0, -1)}-${name}/` },
        },
      }),
    },
  }
}

/** What a version has of its own: the log, the letters and the rest are everybody's. */
const ownFolders = (directory: string): readonly string[] => {
  const { journal, checkpoints, quarantine, index } = dataPaths(directory)
  return [journal, checkpoints, quarantine, index]
}

/** Removes what lies there of versions that are not in the list any more. */
export async function sweep(dataDirectory: string, { versions }: VersionList): Promise<void> {
  const kept = new Set(versions.map((version) => version.folder))
  const found = await readdir(join(dataDirectory, folder)).catch(() => [])
  const gone = found.map((name) => `${folder}/${name}`).filter((name) => !kept.has(name))
  const paths = gone.map((name) => join(dataDirectory, name))
  if (!kept.has('')) paths.push(...ownFolders(dataDirectory))
  for (const path of paths) await rm(path, { recursive: true, force: true })
}
