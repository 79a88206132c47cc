/** Where copies of checkpoints are, as plain data, and how to get there. */
import { CheckpointCopies } from './checkpoint-copies.ts'
import type { S3Options } from './s3-objects.ts'

export interface CopiesOptions {
  readonly s3: S3Options
  /** Of all names in the bucket; ends with "/". */
  readonly prefix: string
}

/** The client is large: it is loaded where it is needed. `epoch`: of the lease of who writes. */
export async function openCopies(
  { s3, prefix }: CopiesOptions,
  epoch = 0,
): Promise<CheckpointCopies> {
  const { S3Objects } = await import('./s3-objects.ts')
  return new CheckpointCopies({ objects: new S3Objects(s3), prefix, epoch })
}
