import { AssetError } from '../../core/errors.js'
import { isSafePath } from '../../core/paths.js'

/** A model of the Hugging Face hub, as people name it: `hf:OWNER/NAME`, `@REVISION` after it, `/FILE` between. */
export interface HubReference {
  /** `OWNER/NAME`, or `NAME` alone as the first models were called */
  readonly repo: string
  /** a branch, a tag, or a commit */
  readonly revision: string
  /** one file of it; all of it where there is none */
  readonly file: string | undefined
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/

/** @throws AssetError 'BAD_USAGE' for what is no name of a model, of a file in it, or of a revision */
export function parseHubReference(text: string): HubReference {
  const [, path = '', revision = 'main'] = /^hf:([^@]*)(?:@(.*))?$/s.exec(text) ?? []
  const [owner, name, ...rest] = path.split('/')
  const file = rest.length > 0 ? rest.join('/') : undefined
  const names = name === undefined ? [owner!] : [owner!, name]
  const isRight =
    names.every((part) => NAME.test(part) && !/\.\.|--|\.git$/.test(part)) &&
    isSafePath(revision) &&
    revision.length <= 255 &&
    (file === undefined || isSafePath(file))
  if (!isRight)
    throw new AssetError(
      'BAD_USAGE',
      `Cannot find a model in ${JSON.stringify(text.slice(0, 200))}: name it as hf:OWNER/NAME, with /FILE and @REVISION where needed`,
    )
  return { repo: names.join('/'), revision, file }
}
