import { WEIGHT_DTYPES, type WeightDtype } from '../asset/convert/plan.js'
import type { WrittenAsset } from '../asset/write-asset.js'
import { AssetError } from '../core/errors.js'
import type { LongCall } from '../core/progress.js'
import type { Store } from '../store/store.js'

/** Where a fragmented checkpoint goes, and what it is called. */
export interface FragmentOptions extends LongCall {
  /** write into this store */
  readonly store?: Store | undefined
  /** write as this new folder */
  readonly out?: string | undefined
  /**
   * how weights are stored: as they came ('keep', the default), as 16-bit floats, or as whole numbers of 8 or 4 bits in blocks
   * of 32 with a scale; README.md says what each costs
   */
  readonly dtype?: WeightDtype | undefined
  /** a name for people, kept in the manifest; it changes the CID */
  readonly name?: string | undefined
}

/** What was made: the CID of the asset folder, its files, and their bytes. */
export interface FragmentResult {
  readonly cid: string
  readonly files: number
  readonly bytes: number
  /** what people should know: that and why the asset can't be run, where its checkpoint gave no graph */
  readonly note?: string
}

/**
 * Splits a checkpoint by module keys into an asset, into a store or a new folder: a Hugging Face folder (safetensors, else
 * `pytorch_model.bin`, single or sharded), a TensorFlow.js model (its folder or model.json), or a single file of safetensors or of PyTorch (torch.save in both its formats,
 * TorchScript), told apart by what is in it, which gives an asset of weights alone. Nothing in a pickle is ever run. The same weights give the same CID on every run and machine, in every `dtype`. Memory stays bounded:
 * tensors are streamed and converted in ranges, never loaded. A checkpoint of a family or variant that is not known is
 * stored without a graph; it can't be quantised, since nothing says what its weights are for.
 * @throws AssetError 'BAD_USAGE' without `store` or `out`; 'NOT_FOUND', 'BAD_INPUT', 'UNSUPPORTED', 'LIMIT', 'CORRUPT', 'IO', 'ABORTED'; nothing half-written stays.
 */
export async function fragment(path: string, options: FragmentOptions): Promise<FragmentResult> {
  const { store, out, name, dtype = 'keep' } = options
  if (!WEIGHT_DTYPES.includes(dtype))
    throw new AssetError('BAD_USAGE', `Cannot store weights as ${JSON.stringify(dtype)}: give one of ${WEIGHT_DTYPES.join(', ')}`)
  if ((store === undefined) === (out === undefined)) {
    throw new AssetError('BAD_USAGE', 'Cannot fragment without knowing where to: give either a store or an out folder')
  }
  const [{ planModelAsset }, { openCheckpoint }, { writeAssetFolder }] = await Promise.all([
    import('../asset/model-asset.js'),
    import('../sources/open.js'),
    import('../asset/write-asset.js'),
  ])
  const plan = await planModelAsset(await openCheckpoint(path), { name, dtype, signal: options.signal })
  return summary(store ? await store.write(plan, options) : await writeAssetFolder(plan, out!, options))
}

/**
 * Makes an asset, in place, of a folder of canonical fragments under `modules/` plus config files that a tool wrote itself.
 * @throws AssetError 'BAD_INPUT' for a fragment that is not canonical or lies in the wrong place
 */
export async function seal(folder: string, options: LongCall & { readonly name?: string | undefined } = {}): Promise<FragmentResult> {
  const { sealFolder } = await import('../asset/seal.js')
  return summary(await sealFolder(folder, options))
}

function summary({ cid, files, whyNoGraph }: WrittenAsset): FragmentResult {
  return {
    cid: String(cid),
    files: files.length,
    bytes: files.reduce((sum, file) => sum + file.size, 0),
    ...(whyNoGraph !== undefined && { note: `It has no graph, so it can't be run: ${whyNoGraph}` }),
  }
}
