/** The manifests: what the API of Kubernetes takes, and what the service and the image are. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { argv0 } from 'node:process'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'

import { loadConfig, parseOverride } from '../../src/app/config/config.ts'
import { Directory, smallConfig, startSmall } from '../app/small-service.ts'
import {
  dockerfile,
  imageEnvironment,
  type Resource,
  resourcesOf,
  root,
  yamlOf,
} from '../support/deployment.ts'

const folder = 'deploy/kubernetes'
const strings = z.record(z.string(), z.string())

const kustomization = z
  .object({ resources: z.array(z.string()), images: z.array(z.object({ name: z.string() })) })
  .parse(yamlOf(`${folder}/kustomization.yaml`))
const secret = resourcesOf(`${folder}/secret.example.yaml`)
const applied = kustomization.resources.flatMap((file) => resourcesOf(`${folder}/${file}`))
const all = [...applied, ...secret].map(
  (resource) => [`${resource.kind} ${resource.metadata?.name}`, resource] as const,
)

const podSchema = z.looseObject({
  metadata: z.object({ labels: strings }),
  spec: z.looseObject({
    serviceAccountName: z.string(),
    terminationGracePeriodSeconds: z.number(),
    securityContext: z.looseObject({ runAsUser: z.number(), runAsGroup: z.number() }),
    containers: z.tuple([
      z.looseObject({
        image: z.string(),
        args: z.array(z.string()),
        envFrom: z.array(z.object({ configMapRef: z.object({ name: z.string() }) })),
        env: z.array(
          z.object({
            name: z.string(),
            valueFrom: z.object({
              secretKeyRef: z.object({
                name: z.string(),
                key: z.string(),
                optional: z.boolean().optional(),
              }),
            }),
          }),
        ),
        ports: z.array(z.object({ name: z.string(), containerPort: z.number() })),
        volumeMounts: z.array(z.object({ name: z.string(), mountPath: z.string() })),
        startupProbe: z.looseObject({ httpGet: z.object({ path: z.string(), port: z.string() }) }),
        livenessProbe: z.looseObject({ httpGet: z.object({ path: z.string(), port: z.string() }) }),
        readinessProbe: z.looseObject({
          httpGet: z.object({ path: z.string(), port: z.string() }),
        }),
        resources: z.object({ requests: strings, limits: strings }),
        securityContext: z.looseObject({ readOnlyRootFilesystem: z.boolean() }),
      }),
    ]),
    volumes: z.array(z.looseObject({ name: z.string() })),
  }),
})

const workloadSchema = z.looseObject({
  kind: z.string(),
  metadata: z.looseObject({ name: z.string() }),
  spec: z.looseObject({
    replicas: z.number().optional(),
    selector: z.object({ matchLabels: strings }),
    template: podSchema,
    volumeClaimTemplates: z
      .array(z.looseObject({ metadata: z.object({ name: z.string() }) }))
      .default([]),
  }),
})

const workloads = applied
  .filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet')
  .map((resource) => workloadSchema.parse(resource))
  .map((workload) => [workload.metadata.name, workload] as const)

const containerOf = (workload: (typeof workloads)[number][1]) =>
  workload.spec.template.spec.containers[0]

/** Pods that a selector chooses. */
const chosen = (labels: Readonly<Record<string, string>>): readonly string[] =>
  workloads
    .filter(([, { spec }]) =>
      Object.entries(labels).every(
        ([name, value]) => spec.template.metadata.labels[name] === value,
      ),
    )
    .map(([name]) => name)

const ofKind = (kind: string): readonly Resource[] => applied.filter((one) => one.kind === kind)

/** Where the types of a version of the API are. */
const moduleOf = ({ apiVersion }: Resource): string => `kubernetes-models/${apiVersion}`

/** What the compiler says of the resources as literals: names that the API does not know, too. */
function complaintsOf(resources: readonly Resource[]): string {
  const directory = join(root, 'node_modules/.cache/manifests')
  mkdirSync(directory, { recursive: true })
  const file = join(directory, 'manifests.ts')
  const statements = resources.map(
    (resource, i) =>
      `import type { I${resource.kind} as K${i} } from '${moduleOf(resource)}'\n` +
      `export const r${i}: K${i} = ${JSON.stringify(resource, undefined, 2)}\n`,
  )
  writeFileSync(file, statements.join('\n'))
  const flags = ['--noEmit', '--strict', '--skipLibCheck', '--ignoreConfig', '--types', '']
  const module = ['--module', 'nodenext', '--moduleResolution', 'nodenext', '--target', 'es2024']
  try {
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    execFileSync(argv0, [tsc, ...flags, ...module, file], { encoding: 'utf8', stdio: 'pipe' })
    return ''
  } catch (error) {
    return String((error as { stdout?: unknown }).stdout)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

describe('the manifests', () => {
  test('name every file of the folder', () => {
    const files = readdirSync(join(root, folder)).filter((name) => name.endsWith('.yaml'))
    const others = ['kustomization.yaml', 'secret.example.yaml']
    expect(files.toSorted()).toEqual([...kustomization.resources, ...others].toSorted())
  })

  test.each(all)('%s is valid for the API', async (_, resource) => {
    const loaded: Record<string, new (data: object) => { validate(): void }> = await import(
      moduleOf(resource)
    )
    const Model = loaded[resource.kind]
    expect(() => new Model(resource).validate()).not.toThrow()
  })

  test('have no name that the API does not know', () => {
    expect(complaintsOf(all.map(([, resource]) => resource))).toBe('')
    const text = JSON.stringify(ofKind('Deployment')[0]).replace('livenessProbe', 'livenesProbe')
    const wrong: Resource = JSON.parse(text)
    expect(complaintsOf([wrong])).toContain('livenesProbe')
  }, 60_000)

  test('have each role once, the trainer with a standby', () => {
    const roles = workloads.map(([, workload]) => String(containerOf(workload).args.at(-1)))
    expect(roles.toSorted()).toEqual(['ingest', 'jobs', 'serving', 'trainer'])
    expect(workloads.find(([name]) => name === 'freshet-trainer')?.[1].spec.replicas).toBe(2)
  })

  test.each(workloads)('%s is the image: user, port, directory, arguments', (_, workload) => {
    const { spec, metadata } = workload.spec.template
    const container = containerOf(workload)
    const image = imageEnvironment()
    const user = dockerfile().findLast(([name]) => name === 'USER')?.[1]
    const { runAsUser, runAsGroup } = spec.securityContext
    expect(`${runAsUser}:${runAsGroup}`).toBe(user)
    expect(container.ports[0]?.containerPort).toBe(Number(image['FRESHET_HTTP_PORT']))
    expect(container.args.slice(0, 2)).toEqual(['start', '--role'])
    expect(kustomization.images.map(({ name }) => name)).toContain(container.image)
    expect(container.securityContext.readOnlyRootFilesystem).toBe(true)
    const mounts = Object.fromEntries(
      container.volumeMounts.map((one) => [one.mountPath, one.name]),
    )
    const volumes = [...spec.volumes, ...workload.spec.volumeClaimTemplates.map((c) => c.metadata)]
    expect(volumes).toContainEqual(
      expect.objectContaining({ name: mounts[image['FRESHET_DATA_DIRECTORY'] ?? ''] }),
    )
    for (const name of Object.values(mounts)) {
      expect(volumes).toContainEqual(expect.objectContaining({ name }))
    }
    expect(metadata.labels).toMatchObject(workload.spec.selector.matchLabels)
    const accounts = ofKind('ServiceAccount').map((account) => account.metadata?.name)
    expect(accounts).toContain(spec.serviceAccountName)
    expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(30)
    expect(container.resources.requests).toHaveProperty('memory')
    expect(container.resources.limits).toHaveProperty('memory')
  })

  test.each(workloads)('the variables of %s are a configuration', (_, workload) => {
    const container = containerOf(workload)
    const [{ stringData }] = z.tuple([z.looseObject({ stringData: strings })]).parse(secret)
    const maps = container.envFrom.map(({ configMapRef }) =>
      ofKind('ConfigMap').find(({ metadata }) => metadata?.name === configMapRef.name),
    )
    const shared = maps.map((map) => z.looseObject({ data: strings }).parse(map).data)
    const digest = 'a'.repeat(64)
    const secrets = container.env.map(({ name, valueFrom }) => {
      const { key } = valueFrom.secretKeyRef
      expect(stringData).toHaveProperty(key)
      expect(valueFrom.secretKeyRef.name).toBe(secret[0].metadata?.name)
      return [name, (stringData[key] ?? '').replaceAll('sha256: REPLACE_ME', `sha256: ${digest}`)]
    })
    const variables = Object.assign({}, imageEnvironment(), ...shared)
    const { FRESHET_CONFIG: file, ...rest } = variables
    const roles = [parseOverride(`process.roles=[${container.args.at(-1)}]`)]
    const path = join(root, String(file).replace('/app/', ''))
    const { config } = loadConfig({
      file: path,
      environment: { ...rest, ...Object.fromEntries(secrets) },
      overrides: roles,
    })
    const { shape, checkpoints, http } = config.process
    expect(shape).toBe('distributed')
    expect(checkpoints.store).toBe('s3')
    expect(http.apiKeys.length).toBeGreaterThan(0)
    // What is optional is not needed.
    const optional = new Set(
      container.env
        .filter(({ valueFrom }) => valueFrom.secretKeyRef.optional === true)
        .map(({ name }) => name),
    )
    const few = Object.fromEntries(secrets.filter(([name = '']) => !optional.has(name)))
    expect(() =>
      loadConfig({ file: path, environment: { ...rest, ...few }, overrides: roles }),
    ).not.toThrow()
  })

  test('selectors choose what they mean', () => {
    const selecting = z.looseObject({ spec: z.looseObject({ selector: strings }) })
    for (const service of ofKind('Service')) {
      expect(chosen(selecting.parse(service).spec.selector)).toEqual([service.metadata?.name])
    }
    const budget = z.looseObject({
      spec: z.looseObject({ selector: z.object({ matchLabels: strings }) }),
    })
    for (const one of ofKind('PodDisruptionBudget')) {
      expect(chosen(budget.parse(one).spec.selector.matchLabels)).toEqual([one.metadata?.name])
    }
    expect(ofKind('PodDisruptionBudget')).toHaveLength(workloads.length)
    const scaler = z.looseObject({
      spec: z.looseObject({
        scaleTargetRef: z.object({ name: z.string(), kind: z.string() }).loose(),
      }),
    })
    const targets = ofKind('HorizontalPodAutoscaler').map(
      (one) => scaler.parse(one).spec.scaleTargetRef,
    )
    expect(targets.map(({ name }) => name).toSorted()).toEqual([
      'freshet-ingest',
      'freshet-serving',
    ])
    for (const { name, kind } of targets) {
      const target = workloads.find(([found]) => found === name)?.[1]
      expect(target?.kind).toBe(kind)
      // Two that count replicas would fight.
      expect(target?.spec.replicas).toBeUndefined()
    }
  })

  test('what may go out are the ports of the servers in the configuration', () => {
    const [map] = ofKind('ConfigMap')
    const { data } = z.looseObject({ data: strings }).parse(map)
    const ports = z.array(z.object({ port: z.union([z.number(), z.string()]) }).loose())
    const policies = z.looseObject({
      spec: z.looseObject({ egress: z.array(z.looseObject({ ports })) }),
    })
    const open = policies
      .parse(ofKind('NetworkPolicy')[0])
      .spec.egress.flatMap((rule) => rule.ports.map(({ port }) => port))
    const named = [
      ...`${data['FRESHET_KAFKA_BROKERS']} ${data['FRESHET_REDIS_URL']}`.matchAll(/:(\d+)/g),
    ]
    expect(named).toHaveLength(2)
    for (const [, port] of named) expect(open).toContain(Number(port))
    expect(open).toContain(443)
  })
})

describe('probes', () => {
  let directory: Directory
  let running: Awaited<ReturnType<typeof startSmall>>
  beforeAll(async () => {
    directory = new Directory()
    running = await startSmall(smallConfig(directory.path))
  })
  afterAll(async () => {
    await running.service.stop()
    directory[Symbol.dispose]()
  })

  test.each(workloads)('of %s are answered by the service', async (_, workload) => {
    const { startupProbe, livenessProbe, readinessProbe, ports } = containerOf(workload)
    for (const { httpGet } of [startupProbe, livenessProbe, readinessProbe]) {
      const { status } = await fetch(`${running.service.address}${httpGet.path}`)
      expect([200, 503]).toContain(status)
      expect(ports.map(({ name }) => name)).toContain(httpGet.port)
    }
    expect(livenessProbe.httpGet.path).not.toBe(readinessProbe.httpGet.path)
  })
})
