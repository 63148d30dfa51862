import { AssetError } from '../core/errors.js'
import type { Broker } from './broker.js'
import { carFile } from './car-file.js'
import { gateway } from './gateway.js'
import { kubo } from './kubo.js'
import { namedSources } from './named-sources.js'

const KINDS: Record<string, (rest: string) => Broker> = { kubo, gateway }

/**
 * Brokers for sources as people write them: `kubo:http://127.0.0.1:5001`, `gateway:https://HOST`, or the path of a CAR file.
 * Nothing is opened or asked yet.
 * @throws AssetError 'BAD_USAGE' for a source that is none of these
 */
export function sourcesOf(texts: readonly string[]): Broker[] {
  return texts.map((text) => {
    const [, scheme = '', rest = ''] = /^([a-z]+):(.*)$/s.exec(text) ?? []
    if (Object.hasOwn(KINDS, scheme)) return KINDS[scheme]!(rest)
    if (text.endsWith('.car')) return carFile(text)
    throw new AssetError(
      'BAD_USAGE',
      `Cannot use the source ${JSON.stringify(text)}: give kubo:URL, gateway:URL or the path of a .car file`,
    )
  })
}

/** Brokers for the sources that MODULE_ASSETS_SOURCES names. @throws AssetError 'BAD_USAGE' */
export function defaultSources(env: NodeJS.ProcessEnv = process.env): Broker[] {
  return sourcesOf(namedSources(env))
}
