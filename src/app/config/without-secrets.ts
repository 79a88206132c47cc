/** The configuration as it may be shown: what is shown ends up in tickets and logs. */
import type { Config } from './config-schema.ts'

const stars = '***'

/** Passwords, secret keys and hashes of API keys are starred; whether they are set can be seen. */
export function withoutSecrets({ model, process }: Config): Config {
  const { tables, redis, kafka, checkpoints, http } = process
  const { s3 } = checkpoints
  const { sasl } = kafka
  return {
    model,
    process: {
      ...process,
      http: { ...http, apiKeys: http.apiKeys.map(withoutHash) },
      kafka: { ...kafka, sasl: { ...sasl, ...(sasl.password && { password: stars }) } },
      redis: hidden(redis),
      checkpoints: {
        ...checkpoints,
        s3: { ...s3, ...(s3.secretAccessKey && { secretAccessKey: stars }) },
      },
      tables: { ...tables, redis: hidden(tables.redis) },
    },
  }
}

type ApiKey = Config['process']['http']['apiKeys'][number]

const withoutHash = (key: ApiKey): ApiKey => ({ ...key, sha256: stars })

const hidden = <Redis extends Config['process']['redis']>(redis: Redis): Redis => ({
  ...redis,
  ...(redis.url !== undefined && { url: redis.url.replace(/\/\/[^/@]*@/, `//${stars}@`) }),
  ...(redis.password !== undefined && { password: stars }),
  ...(redis.sentinelPassword !== undefined && { sentinelPassword: stars }),
})
