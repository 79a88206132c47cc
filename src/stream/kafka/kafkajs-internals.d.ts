/** What we and our tests use of kafkajs 2.2.4 that the package's own types leave out. */
declare module 'kafkajs/src/cluster/index.js' {
  import type { ConnectionOptions } from 'node:tls'

  import type { IHeaders, ISocketFactory, RetryOptions, SASLOptions } from 'kafkajs'

  interface Logger {
    namespace(): Logger
    error(): void
    warn(): void
    info(): void
    debug(): void
  }

  interface FetchedRecords {
    readonly partition: number
    readonly abortedTransactions?: readonly object[]
    readonly messages: readonly RawMessage[]
  }

  interface RawMessage {
    readonly offset: string | number
    readonly key: Buffer | null
    readonly value: Buffer | null
    /** Epoch ms; -1: none. */
    readonly timestamp: string | number
    readonly headers?: IHeaders
    readonly isControlRecord?: boolean
    readonly batchContext?: {
      readonly firstOffset: string | number
      readonly lastOffsetDelta: number
    }
  }

  interface Answer<Partition> {
    readonly partitions: readonly Partition[]
  }

  interface Response<Result> {
    decode: (payload: Buffer) => Promise<unknown>
    parse: (decoded: unknown) => Promise<Result>
  }

  interface Broker {
    fetch(request: object): Promise<{ responses: readonly Answer<FetchedRecords>[] }>
    readonly connectionPool: {
      send<Result>(of: {
        request: {
          apiKey: number
          apiVersion: number
          apiName: string
          /** An encoder: what it has written. */
          encode: () => Promise<{ buf: Buffer; buffer: Buffer }>
        }
        response: Response<Result>
      }): Promise<Result>
    }
    listOffsets(
      request: object,
    ): Promise<{ responses: readonly Answer<{ partition: number; offset: string }>[] }>
    initProducerId(request: object): Promise<{ producerId: string; producerEpoch: number }>
    offsetCommit(request: object): Promise<unknown>
  }

  class Cluster {
    constructor(options: {
      logger: Logger
      socketFactory: ISocketFactory
      brokers: readonly string[]
      ssl?: ConnectionOptions
      sasl?: SASLOptions
      clientId: string
      connectionTimeout: number
      requestTimeout: number
      enforceRequestTimeout: boolean
      metadataMaxAge: number
      retry: RetryOptions
      allowAutoTopicCreation: boolean
      isolationLevel: number
    })
    connect(): Promise<void>
    disconnect(): Promise<void>
    addTargetTopic(topic: string): Promise<void>
    refreshMetadata(): Promise<void>
    findBroker(of: { nodeId: number }): Promise<Broker>
    findControllerBroker(): Promise<Broker>
    findGroupCoordinator(of: { groupId: string }): Promise<Broker>
    findTopicPartitionMetadata(topic: string): readonly { partitionId: number; leader: number }[]
  }

  export { type Answer, type Broker, type FetchedRecords, type RawMessage, type Response }
  export default Cluster
}

declare module 'kafkajs/src/protocol/message/compression/index.js' {
  const compression: {
    /** Null: the batch is not compressed. Throws where there is no such codec. */
    lookupCodecByAttributes(attributes: number): {
      compress(of: { readonly buffer: Buffer }): Promise<Buffer>
      decompress(bytes: Buffer): Promise<Buffer>
    } | null
  }
  export default compression
}

declare module 'kafkajs/src/protocol/requests/fetch/v11/response.js' {
  const response: { decode: (payload: Buffer) => Promise<unknown> }
  export default response
}

declare module 'kafkajs/src/protocol/requests/produce/v7/response.js' {
  import type { Answer, Response } from 'kafkajs/src/cluster/index.js'

  const response: Response<{
    topics: readonly Answer<{ partition: number; baseOffset: string }>[]
  }>
  export default response
}

declare module 'kafkajs/src/consumer/filterAbortedMessages.js' {
  import type { RawMessage } from 'kafkajs/src/cluster/index.js'

  export default function filterAborted(of: {
    messages: readonly RawMessage[]
    abortedTransactions: readonly object[]
  }): readonly RawMessage[]
}

declare module 'kafkajs/src/network/requestQueue/index.js' {
  export default class RequestQueue {
    pending: readonly unknown[]
    scheduleCheckPendingRequests: (this: RequestQueue) => void
  }
}

declare module 'kafkajs/src/protocol/requests/produce/v7/request.js' {
  export default function produceRequest(of: object): {
    encode: () => Promise<{ readonly buffer: Buffer }>
  }
}
