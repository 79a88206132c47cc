/**
 * The dashboard and the API's documentation: pages and what they need, read once and served from
 * memory. Nothing of them comes from another host. They ask the API by `freshet/client` like any
 * other program, with a key where one is needed.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire, stripTypeScriptTypes } from 'node:module'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { FastifyInstance } from 'fastify'

const folder = fileURLToPath(new URL('../../dashboard/', import.meta.url))

/** Scripts import it as `../../client/...`: right here, when compiled, and from `/dashboard/`. */
const clientFolder = fileURLToPath(new URL('../../../client/', import.meta.url))

const mediaTypes: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** Scripts, styles and questions to this host alone, and nothing inline. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** Under which addresses pages are found. */
const pages: Readonly<Record<string, readonly string[]>> = {
  'index.html': ['/dashboard', '/dashboard/'],
  'docs.html': ['/docs', '/docs/'],
}

interface Asset {
  readonly urls: readonly string[]
  readonly type: string
  readonly body: () => Buffer | string
}

export function addDashboard(app: FastifyInstance): void {
  for (const { urls, type, body } of [...pageAssets(), ...clientScripts()]) {
    for (const url of urls) {
      app.route({
        method: 'GET',
        url,
        schema: { hide: true },
        config: { urgent: true },
        handler: (_, reply) =>
          reply.headers({ 'content-type': type, 'content-security-policy': policy }).send(body()),
      })
    }
  }
}

/** The plotting library's two files beside the pages' own. */
function pageAssets(): readonly Asset[] {
  const uplot = dirname(createRequire(import.meta.url).resolve('uplot'))
  const files = [
    ...readdirSync(folder).map((name) => [name, join(folder, name)] as const),
    ['uplot.js', join(uplot, 'uPlot.iife.min.js')] as const,
    ['uplot.css', join(uplot, 'uPlot.min.css')] as const,
  ]
  return files.flatMap(([name, path]) => {
    const type = mediaTypes[extname(name)]
    if (type === undefined) return []
    const bytes = readFileSync(path)
    return [{ urls: pages[name] ?? [`/dashboard/${name}`], type, body: () => bytes }]
  })
}

/** As they were compiled; of sources, what is left without types, once somebody asks. */
function clientScripts(): readonly Asset[] {
  const names = readdirSync(clientFolder).filter((name) => /^[\w-]+\.[jt]s$/.test(name))
  return names.map((name) => {
    const source = readFileSync(join(clientFolder, name), 'utf8')
    let script = name.endsWith('.js') ? source : undefined
    return {
      urls: [`/client/${name.replace(/ts$/, 'js')}`],
      type: 'text/javascript; charset=utf-8',
      body: () => (script ??= withoutTypes(source)),
    }
  })
}

const withoutTypes = (source: string): string =>
  stripTypeScriptTypes(source).replaceAll(/(from '\.\/[\w-]+\.)ts'/g, "$1js'")
