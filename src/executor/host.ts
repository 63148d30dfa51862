import { AssetError, throwIfAborted } from '../core/errors.js'
import { parseJsonObject } from '../core/json.js'
import { elementType, type GraphIndex } from '../graph/cut.js'
import type { ValueInfoProto } from '../graph/generated/onnx_pb.js'
import type { OpenAsset } from '../store/open-asset.js'
import { tokenizerBytes } from '../text/tokenizer-bytes.js'
import { embed } from './embed.js'
import { type Generated, generate, type TextFiles } from './generate.js'
import { Loader } from './load.js'
import type { LoadedModel } from './loaded-model.js'
import { openModel } from './open-model.js'
import { toPlain, toTensor } from './plain-tensor.js'
import type { Calls, GraphValue, ModelFacts, ModelStats } from './protocol.js'
import { tensorType } from './tensors.js'
import { whileArriving } from './while-arriving.js'

interface Hosted {
  readonly model: LoadedModel
  readonly files: TextFiles
  readonly streams: Set<number>
  readonly tokenizerBytes: number
  stateBytes: number
  tokens: number
  closed: boolean
}

interface Stream {
  readonly owner: Hosted
  readonly items: AsyncGenerator<Generated>
  readonly controller: AbortController
  /** the token after the one that was asked for last, on its way already: the answer and the next question cost it no time */
  ahead: Promise<IteratorResult<Generated>> | undefined
}

/** A call under way: its signal, and where its progress goes. */
export interface CallContext {
  readonly signal: AbortSignal
  readonly onProgress: (done: number, total: number) => void
}

/** All models of the process, their weights and engines; lives in the worker thread. */
export class Host {
  private readonly loader = new Loader()
  private readonly models = new Map<number, Hosted>()
  private readonly streams = new Map<number, Stream>()
  private lastId = 0

  readonly calls: { [Name in keyof Calls]: (args: Parameters<Calls[Name]>[0], context: CallContext) => Promise<ReturnType<Calls[Name]>> } =
    {
      load: async ({ cidOrPath, store, sources, tokenizer, ...settings }, { onProgress, signal }) => {
        const asset = await openModel(cidOrPath, { store, sources }, signal)
        let model: LoadedModel | undefined
        try {
          const files = await whileArriving(asset.arriving, signal, () => readTextFiles(asset, tokenizer), true)
          const bytes = files.tokenizer ? tokenizerBytes(asset.manifest.files.get('tokenizer.json')!.size) : 0
          model = await this.loader.load(asset, { ...settings, tokenizerBytes: bytes, onProgress, signal })
          const facts = factsOf(model, files)
          throwIfAborted(signal, 'load the model')
          const id = ++this.lastId
          this.models.set(id, { model, files, streams: new Set(), tokenizerBytes: bytes, stateBytes: 0, tokens: 0, closed: false })
          return { model: id, facts }
        } catch (error) {
          await model?.close()
          await asset.close()
          throw error
        }
      },
      run: async ({ model, feeds }, { signal }) => {
        const { model: loaded } = this.hosted(model)
        const tensors = new Map(feeds.map(([name, plain]) => [name, toTensor(plain, `the input ${name}`)]))
        const outputs = await loaded.forward(tensors, { signal })
        return [...outputs].map(([name, tensor]) => [name, toPlain(tensor)])
      },
      startGenerate: async ({ model, prompt, options }) => {
        const owner = this.hosted(model)
        const controller = new AbortController()
        const onBytes = (difference: number) => {
          owner.stateBytes += difference
        }
        const id = ++this.lastId
        const items = generate(owner.model, owner.files, prompt, options, controller.signal, onBytes)
        this.streams.set(id, { owner, items, controller, ahead: undefined })
        owner.streams.add(id)
        return id
      },
      nextGenerated: async ({ stream }, { signal }) => {
        const found = this.streams.get(stream)
        if (!found) throw closed()
        const onAbort = () => found.controller.abort(signal.reason)
        signal.addEventListener('abort', onAbort)
        try {
          const { value, done } = await (found.ahead ?? found.items.next())
          if (done) {
            this.forget(stream)
            return undefined
          }
          found.owner.tokens += 1
          found.ahead = found.items.next()
          // whoever asks for it hears of it
          found.ahead.catch(() => undefined)
          return value
        } catch (error) {
          this.forget(stream)
          throw found.owner.closed ? closed() : error
        } finally {
          signal.removeEventListener('abort', onAbort)
        }
      },
      endGenerate: async ({ stream }) => this.endStream(stream),
      embed: async ({ model, texts }, { signal }) => {
        const { model: loaded, files } = this.hosted(model)
        return embed(loaded, files, texts, signal)
      },
      stats: async ({ model }) => statsOf(this.hosted(model)),
      arrived: async ({ model }, { signal, onProgress }) => {
        await this.hosted(model).model.asset.arriving?.complete({ signal, onProgress })
      },
      trace: async ({ model }) => this.hosted(model).model.takeTrace(),
      resident: async ({ model }) => {
        const { model: loaded } = this.hosted(model)
        return [...loaded.index.weights.keys()].filter((name) => loaded.isResident(name))
      },
      close: async ({ model }) => {
        const hosted = this.models.get(model)
        if (!hosted) return
        this.models.delete(model)
        hosted.closed = true
        hosted.model.asset.arriving?.stop()
        for (const stream of [...hosted.streams]) await this.endStream(stream)
        await hosted.model.close()
        await hosted.model.asset.close()
      },
    }

  private hosted(id: number): Hosted {
    const hosted = this.models.get(id)
    if (!hosted) throw closed()
    return hosted
  }

  /** Cancels a generation; when this resolves its cache is free. */
  private async endStream(id: number): Promise<void> {
    const stream = this.streams.get(id)
    if (!stream) return
    this.forget(id)
    stream.controller.abort()
    await stream.items.return(undefined).catch(() => undefined)
  }

  private forget(id: number): void {
    this.streams.get(id)?.owner.streams.delete(id)
    this.streams.delete(id)
  }
}

function closed(): AssetError {
  return new AssetError('CLOSED', 'Cannot use the model: it was closed')
}

function factsOf({ asset, index }: LoadedModel, { config }: TextFiles): ModelFacts {
  const [inputs, outputs] = [index.inputs, index.outputs].map((values) => values.map((value) => describe(index, value)))
  return { cid: asset.cid, config, inputs: inputs!, outputs: outputs! }
}

async function readTextFiles(asset: OpenAsset, withTokenizer: boolean): Promise<TextFiles> {
  const { config: path } = asset.manifest
  const json = async (name: string) =>
    asset.manifest.files.has(name) ? parseJsonObject(await asset.readFile(name), `${name} of ${asset.where}`) : undefined
  const config = (path && (await json(path))) || {}
  const generation = (await json('generation_config.json')) ?? {}
  const tokenizer = withTokenizer ? await json('tokenizer.json') : undefined
  if (!tokenizer) return { tokenizer: undefined, config, generation }
  const templatePath = 'chat_template.jinja'
  const template = asset.manifest.files.has(templatePath) ? Buffer.from(await asset.readFile(templatePath)).toString('utf8') : undefined
  // Only now: a model without one needs none of its memory.
  const { Tokenizer } = await import('../text/tokenizer.js')
  return { tokenizer: new Tokenizer(tokenizer, (await json('tokenizer_config.json')) ?? {}, template), config, generation }
}

function describe(index: GraphIndex, { name, type }: ValueInfoProto): GraphValue {
  const dim = type?.value.case === 'tensorType' ? (type.value.value.shape?.dim ?? []) : []
  return {
    name,
    type: tensorType(elementType(index, name)),
    dims: dim.map(({ value }) => (value.case === 'dimValue' ? Number(value.value) : (value.value ?? '?'))),
  }
}

function statsOf({ model, tokenizerBytes, stateBytes, tokens }: Hosted): ModelStats {
  const { fetched: fetchedBytes = 0, missing: missingBytes = 0 } = model.asset.arriving ?? {}
  return { engine: model.engine, ...model.exactness, ...model.counters(), tokenizerBytes, stateBytes, tokens, fetchedBytes, missingBytes }
}
