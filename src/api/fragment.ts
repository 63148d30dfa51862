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
  /**
   * leaves weights in the files where they are, which must stay there: the store keeps headers and checksums alone. What is
   * converted, or does not lie in one run, is copied all the same. Only into a store
   */
  readonly link?: boolean | undefined
  /** a name for people, kept in the manifest; it changes the CID */
  readonly name?: string | undefined
}

/** So many files, of so many bytes. */
export interface FileCount {
  readonly files: number
  readonly bytes: number
}

/** What was made: the CID of the asset folder, its files, and their bytes. */
export interface FragmentResult {
  readonly cid: string
  readonly files: number
  readonly bytes: number
  /** bytes of weights and other files that came from the hub, where it is a model of the hub */
  readonly fetched?: number
  /** with `link`: the fragments that were not copied, and those that had to be, with their bytes */
  readonly linked?: FileCount
  readonly copied?: FileCount
  /** what people should know: that and why the asset can't be run, where its checkpoint gave no graph */
  readonly note?: string
}

/**
 * Splits a checkpoint by module keys into an asset, into a store or a new folder: a Hugging Face folder (safetensors, else
 * `pytorch_model.bin`, single or sharded, else `model.onnx`, else the `model.json` of TensorFlow.js), or a single file, told apart by
 * what is in it: of safetensors or of PyTorch (torch.save in both its formats, TorchScript), which gives an asset of weights alone, of
 * GGUF, of which config and tokenizer are made, or an ONNX model or one of TensorFlow.js, which bring their programs and keep their
 * `dtype`. Nothing in a pickle is ever run. The same weights give the same CID on every run and machine, in every `dtype`. Memory stays bounded:
 * tensors are streamed and converted in ranges, never loaded. A checkpoint of a family or variant that is not known is
 * stored without a graph; it can't be quantised, since nothing says what its weights are for.
 *
 * `hf:OWNER/NAME` is a model of the Hugging Face hub, `@REVISION` after it another revision than main, `/FILE` before that a
 * single file. What is needed is fetched by ranges, straight into the asset; a call that was interrupted is gone on with by the
 * next that is the same. What the hub's cache on this machine has is read there. HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME
 * and HF_HUB_CACHE are heeded.
 * @throws AssetError 'BAD_USAGE' without `store` or `out`; 'NOT_FOUND', 'BAD_INPUT', 'UNSUPPORTED', 'LIMIT', 'CORRUPT', 'IO', 'ABORTED'; nothing half-written stays.
 */
export async function fragment(path: string, options: FragmentOptions): Promise<FragmentResult> {
  const { store, out, dtype = 'keep' } = options
  if (!WEIGHT_DTYPES.includes(dtype))
    throw new AssetError('BAD_USAGE', `Cannot store weights as ${JSON.stringify(dtype)}: give one of ${WEIGHT_DTYPES.join(', ')}`)
  if ((store === undefined) === (out === undefined)) {
    throw new AssetError('BAD_USAGE', 'Cannot fragment without knowing where to: give either a store or an out folder')
  }
  if (options.link && !store)
    throw new AssetError('BAD_USAGE', 'Cannot link from a folder to where weights are: only a store can; give a store, or leave link out')
  if (path.startsWith('hf:')) {
    const { mountHub } = await import('../transport/hub/open.js')
    await using hub = await mountHub(path, options)
    return { ...(await fragmentAt(hub.path, options)), fetched: hub.fetched() }
  }
  return fragmentAt(path, options)
}

async function fragmentAt(path: string, options: FragmentOptions): Promise<FragmentResult> {
  const [{ planModelAsset }, { openCheckpoint }, { writeAssetFolder }] = await Promise.all([
    import('../asset/model-asset.js'),
    import('../sources/open.js'),
    import('../asset/write-asset.js'),
  ])
  const { store, out, name, dtype } = options
  const plan = await planModelAsset(await openCheckpoint(path), { name, dtype, signal: options.signal })
  const written = store ? await store.write(plan, options) : await writeAssetFolder(plan, out!, options)
  return { ...summary(written), ...(options.link && linkCounts(written)) }
}

function linkCounts({ files }: WrittenAsset): Pick<FragmentResult, 'linked' | 'copied'> {
  const fragments = files.filter(({ path }) => path.startsWith('modules/'))
  const count = (some: typeof fragments) => ({ files: some.length, bytes: some.reduce((sum, { size }) => sum + size, 0) })
  return { linked: count(fragments.filter(({ link }) => link)), copied: count(fragments.filter(({ link }) => !link)) }
}

/**
 * Makes an asset, in place, of a folder of canonical fragments under `modules/` plus config files that a tool wrote itself.
 * @throws AssetError 'BAD_INPUT' for a fragment that is not canonical or lies in the wrong place
 */
export async function seal(folder: string, options: LongCall & { readonly name?: string | undefined } = {}): Promise<FragmentResult> {
  const { sealFolder } = await import('../asset/seal.js')
  return summary(await sealFolder(folder, options))
}

function summary({ cid, files, whyNoGraph, notes = [] }: WrittenAsset): FragmentResult {
  const said = [...(whyNoGraph !== undefined ? [`It has no graph, so it can't be run: ${whyNoGraph}`] : []), ...notes]
  return {
    cid: String(cid),
    files: files.length,
    bytes: files.reduce((sum, file) => sum + file.size, 0),
    ...(said.length > 0 && { note: said.join('. ') }),
  }
}
