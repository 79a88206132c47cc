/** How to reach a Kafka topic, and every bound on doing so. */

interface KafkaTls {
  /** PEM texts; `{}`: the system's certificate authorities. */
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
}

type SaslOf<Mechanism> = {
  readonly mechanism: Mechanism
  readonly username: string
  readonly password: string
}

type KafkaSasl = SaslOf<'plain'> | SaslOf<'scram-sha-256'> | SaslOf<'scram-sha-512'>

export interface KafkaSettings {
  /** `host:port` of some brokers, which tell the others. */
  readonly brokers: readonly string[]
  readonly topic: string
  readonly clientId?: string
  readonly sasl?: KafkaSasl
  readonly tls?: KafkaTls
  /** Until a broker takes the connection. Default 2,000. */
  readonly connectTimeoutMs?: number
  /** Until a broker answers a request. Default 10,000. */
  readonly requestTimeoutMs?: number
}

export type KafkaCompression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
