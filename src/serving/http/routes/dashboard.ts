/**
 * The dashboard and the API's documentation: pages and what they need, read once and served from
 * memory. Nothing of them comes from another host. They ask the API like any other client, with a
 * key where one is needed.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { FastifyInstance } from 'fastify'

const folder = fileURLToPath(new URL('../../dashboard/', import.meta.url))

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
  readonly type: string
  readonly bytes: Buffer
}

export function addDashboard(app: FastifyInstance): void {
  const assets = readAssets()
  for (const [name, { type, bytes }] of assets) {
    const urls = pages[name] ?? [`/dashboard/${name}`]
    for (const url of urls) {
      app.route({
        method: 'GET',
        url,
        schema: { hide: true },
        config: { urgent: true },
        handler: (_, reply) =>
          reply.headers({ 'content-type': type, 'content-security-policy': policy }).send(bytes),
      })
    }
  }
}

/** By name; the plotting library's two files beside the page's own. */
function readAssets(): Map<string, Asset> {
  const uplot = dirname(createRequire(import.meta.url).resolve('uplot'))
  const files = [
    ...readdirSync(folder).map((name) => [name, join(folder, name)] as const),
    ['uplot.js', join(uplot, 'uPlot.iife.min.js')] as const,
    ['uplot.css', join(uplot, 'uPlot.min.css')] as const,
  ]
  return new Map(
    files.flatMap(([name, path]) => {
      const type = mediaTypes[extname(name)]
      return type === undefined ? [] : [[name, { type, bytes: readFileSync(path) }]]
    }),
  )
}
