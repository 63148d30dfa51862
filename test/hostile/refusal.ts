import { readdir } from 'node:fs/promises'
import { AssetError, fragment } from '../../src/api/index.js'
import { temporary } from '../sources/files.js'

/** What fragmenting a file with these bytes says; throws unless that is an AssetError and nothing was left behind. */
export async function refusal(bytes: Uint8Array): Promise<string> {
  await using folder = await temporary()
  const file = await folder.write('weights.pt', bytes)
  try {
    const { cid } = await fragment(file, { out: `${folder.path}/out` })
    return `it was taken as ${cid}`
  } catch (error) {
    if (!(error instanceof AssetError)) throw error
    const left = (await readdir(folder.path)).filter((name) => name !== 'weights.pt')
    if (left.length > 0) throw new Error(`${left} was left behind`, { cause: error })
    return `${error.code} ${error.message}`
  }
}
