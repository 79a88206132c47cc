/**
 * `freshet bench log --backend kafka`: how fast interactions go into a topic, confirmed by the
 * broker, in appends of `batch` events by four writers, and how fast one reader gets them out again,
 * decoded. Without `--brokers` a broker is started beside it, on the same processors.
 */
import { availableParallelism } from 'node:os'

import { openKafkaLog } from '../src/stream/kafka/kafka-log.ts'
import { KafkaServer, makeTopic } from '../test/support/kafka-server.ts'
import { type LogBenchOptions, makeBatches, rateOf } from './log.ts'

interface KafkaBenchOptions extends LogBenchOptions {
  /** host:port; absent: one of its own. */
  readonly brokers?: string
}

const partitions = 4
const writers = 4

export async function run(
  options: KafkaBenchOptions,
  progress: (line: string) => void,
): Promise<object> {
  const { events, batch, seed, brokers, repeats = 3 } = options
  progress(brokers === undefined ? 'starting a broker' : `using ${brokers}`)
  await using broker = brokers === undefined ? await KafkaServer.start({ heapMb: 512 }) : undefined
  const address = brokers ?? broker?.address ?? ''
  const batches = makeBatches(events, batch, seed)
  const append: number[] = []
  const consume: number[] = []
  const processor: number[] = []
  // The first round warms up and is not counted.
  for (let repeat = 0; repeat <= repeats; repeat += 1) {
    progress(repeat === 0 ? 'warming up' : `repeat ${repeat} of ${repeats}`)
    const topic = await makeTopic(address, partitions)
    const log = await openKafkaLog({ brokers: [address], topic, maxPendingEvents: events })
    const begin = performance.now()
    const left = batches.values()
    const write = async (): Promise<void> => {
      for (const given of left) await log.append(given)
    }
    await Promise.all(Array.from({ length: writers }, write))
    const appended = (performance.now() - begin) / 1_000
    await log.close()
    const read = await consumeAll(address, topic)
    if (read.events !== events) throw new Error(`${read.events} events read of ${events}`)
    if (repeat === 0) continue
    append.push(events / appended)
    consume.push(events / read.seconds)
    processor.push(events / read.cpuSeconds)
  }
  return {
    events,
    batch,
    partitions,
    writers,
    processors: availableParallelism(),
    append: rateOf(append),
    consume: rateOf(consume),
    consumePerCpuSecond: rateOf(processor),
  }
}

/** One reader from the start to the end: by the clock, and by the time its process computed. */
async function consumeAll(
  address: string,
  topic: string,
): Promise<{ events: number; seconds: number; cpuSeconds: number }> {
  const log = await openKafkaLog({ brokers: [address], topic })
  const options = { maxEvents: 4_096, waitMs: 0, signal: new AbortController().signal }
  const position: Record<number, string> = { ...(await log.start()) }
  const cpu = process.cpuUsage()
  const begin = performance.now()
  let events = 0
  for (;;) {
    const batches = await log.read(position, options)
    if (batches.length === 0) break
    for (const batch of batches) {
      events += batch.events.length
      position[batch.partition] = batch.next
    }
  }
  const seconds = (performance.now() - begin) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  await log.close()
  return { events, seconds, cpuSeconds: (user + system) / 1e6 }
}
