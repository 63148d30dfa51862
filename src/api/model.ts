import { Tensor } from 'onnxruntime-common'
import type { ModuleInfo } from '../asset/module-list.js'
import { parseBytes } from '../core/bytes.js'
import { AssetError } from '../core/errors.js'
import type { LongCall } from '../core/progress.js'
import { checkChoice, type EngineChoice } from '../engines/choice.js'
import { KV_CACHES, type KvCache, PRECISIONS, type Precision } from '../engines/native/exactness.js'
import { type ExecutorClient, joinExecutor } from '../executor/client.js'
import type { Generated, GenerateOptions, Prompt } from '../executor/generate.js'
import { type PlainTensor, toPlain, toTensor } from '../executor/plain-tensor.js'
import type { ModelFacts, ModelStats } from '../executor/protocol.js'
import type { Store } from '../store/store.js'
import type { Message } from '../text/tokenizer.js'
import { inspect } from './inspect.js'
import { type Trace, traceOf } from './trace.js'

/** How a model is loaded. */
export interface LoadOptions extends LongCall {
  /**
   * most bytes of weights in memory, such as `512MiB`; 'auto' takes three fifths of the free memory. A large tokenizer, which
   * takes about twelve times the bytes of its file, is counted too: weights get what it leaves
   */
  readonly memory?: number | string | undefined
  /** what computes: 'native' (the addon), 'onnx' (ONNX Runtime), or 'auto' (default): native wherever that can be, ONNX Runtime for the nodes that it doesn't know */
  readonly engine?: EngineChoice | undefined
  /** false leaves the model's tokenizer out of memory: prompts are token ids then, and no text is given */
  readonly tokenizer?: boolean | undefined
  /**
   * map the files of weights into memory instead of reading them within a budget (`memory` can't be given then): the system
   * reads what is touched and drops what it needs room for, so this process has no bound of its own, and a model that does not
   * fit runs far slower than within a budget. Every page is checked once, at its first use. Only in the native engine. If a
   * file is cut short while it is mapped, the system kills the process.
   */
  readonly map?: boolean | undefined
  /** threads that compute in the native engine; as many as the processor has cores when left out; results don't depend on it */
  readonly threads?: number | undefined
  /** the native engine's instructions: 'avx512', 'avx2', 'neon' or 'portable'; the best there is when left out */
  readonly instructionSet?: string | undefined
  /** record what is read, waited for and computed, for {@link Model.trace} */
  readonly trace?: boolean | undefined
  /**
   * 'exact' (default): a prompt is computed in float32 throughout. 'fast': its activations are rounded before they are
   * multiplied by weights of BF16, 8 or 4 bits, to bfloat16 or whole numbers of 8 bits, where the native engine runs on a
   * processor with instructions for that (AVX-512 BF16, VNNI); else, and for up to 16 rows at once, it is the same as 'exact'.
   */
  readonly precision?: Precision | undefined
  /** how the native engine keeps keys and values: 'f32' (default), or 'f16' in half the memory, rounded to nearest even */
  readonly kvCache?: KvCache | undefined
  /** where to look for a CID; the default store when left out */
  readonly store?: Store | undefined
  /**
   * where to fetch from what is not in the store: `kubo:URL`, `gateway:URL`, the path of a .car file, or a URI; when left out, the
   * locations that are noted for the asset and those that MODULE_ASSETS_SOURCES names. The model is loaded as soon as its graph, tokenizer and small tensors are there, and each pass waits only
   * for what it needs; what arrives is verified and stays in the store, also when this process ends before all of it is there
   */
  readonly sources?: readonly string[] | undefined
}

/** A module of a loaded model; `resident` where all its tensors are in memory now. */
export interface LoadedModule extends ModuleInfo {
  readonly resident: boolean
}

/** A model that runs within its budget. All of its work is done in a worker thread; close it when done. */
export class Model implements AsyncDisposable {
  private closed = false

  /** Use {@link loadModel}. */
  constructor(
    private readonly client: ExecutorClient,
    private readonly id: number,
    private readonly facts: ModelFacts,
    private readonly where: string,
    private readonly store: Store | undefined,
  ) {}

  /** The CID of the asset. */
  get cid(): string {
    return this.facts.cid
  }

  /** config.json as published. */
  get config(): ModelFacts['config'] {
    return this.facts.config
  }

  /** The graph's inputs; a dimension that varies has a name. */
  get inputs(): ModelFacts['inputs'] {
    return this.facts.inputs
  }

  /** The graph's outputs. */
  get outputs(): ModelFacts['outputs'] {
    return this.facts.outputs
  }

  /** The modules with CID, bytes, element types, and whether they are in memory now; of a model that arrives when all of it is there. @throws AssetError 'CLOSED' */
  async modules(): Promise<LoadedModule[]> {
    const resident = new Set(await this.open().call('resident', { model: this.id }))
    await this.arrived()
    const { modules } = await inspect(this.where, { store: this.store })
    return modules.map((module) => ({ ...module, resident: module.tensors.every(({ name }) => resident.has(name)) }))
  }

  /**
   * One forward pass over the graph: tensors by input name in, all outputs by name out, every position. Caches, masks,
   * positions and token types are filled in where they are left out.
   * @throws AssetError 'BAD_INPUT' for an input that is unknown, missing or of the wrong type or shape; 'CORRUPT', 'ABORTED', 'CLOSED'
   */
  async run(
    feeds: Readonly<Record<string, Tensor | PlainTensor>>,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Record<string, Tensor>> {
    const plain = Object.entries(checkObject(feeds, 'feeds')).map(([name, value]): [string, PlainTensor] => {
      const { type, data, dims } = value instanceof Tensor ? toPlain(value) : (value ?? {})
      if (typeof type !== 'string' || !(ArrayBuffer.isView(data) || Array.isArray(data)) || !Array.isArray(dims))
        throw new AssetError('BAD_INPUT', `Cannot run the model: the input ${name} is no tensor; give {type, data, dims}`)
      return [name, { type, data, dims: [...dims] }]
    })
    const outputs = await this.open().call('run', { model: this.id, feeds: plain }, options)
    return Object.fromEntries(outputs.map(([name, tensor]) => [name, toTensor(tensor, name)]))
  }

  /**
   * Generates token by token after a prompt: text, a conversation (rendered by the model's chat template), or token ids. A model with
   * an encoder reads the prompt there, once, and gives what its decoder writes.
   * Calls on one model take turns, token by token. Leaving the loop cancels and frees the cache at once.
   * @throws AssetError 'BAD_INPUT' for a parameter out of its range, 'UNSUPPORTED', 'ABORTED', 'CLOSED'
   */
  async *generate(
    prompt: Prompt,
    options: GenerateOptions & { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<Generated> {
    const client = this.open()
    const { signal } = checkObject(options, 'options')
    // Only what is known, since what is no data can't be passed to the worker.
    const { maxTokens, temperature, topK, topP, seed, stop, ignoreEos, promptChunk } = options
    const known = { maxTokens, temperature, topK, topP, seed, stop, ignoreEos, promptChunk }
    const stream = await client.call('startGenerate', { model: this.id, prompt: checkPrompt(prompt), options: known }, { signal })
    try {
      for (;;) {
        const generated = await client.call('nextGenerated', { stream }, { signal })
        if (!generated) return
        yield generated
      }
    } finally {
      if (!this.closed) await client.call('endGenerate', { stream }).catch(() => undefined)
    }
  }

  /** One vector (width) for each text, pooled and scaled as the model says. @throws AssetError 'UNSUPPORTED' | 'MISSING' | 'ABORTED' */
  async embed(texts: readonly string[], options: { readonly signal?: AbortSignal } = {}): Promise<Float32Array[]> {
    if (!Array.isArray(texts) || !texts.every((text) => typeof text === 'string'))
      throw new AssetError('BAD_INPUT', 'Cannot embed what is no list of texts; give an array of strings')
    return this.open().call('embed', { model: this.id, texts: [...texts] }, options)
  }

  /** Counters since the model was loaded. @throws AssetError 'CLOSED' */
  async stats(): Promise<ModelStats> {
    return this.open().call('stats', { model: this.id })
  }

  /**
   * What was read, waited for and computed since it was asked for before, in the Chrome trace format; nothing unless the model was
   * loaded with `trace`. The first 262,144 events are kept. @throws AssetError 'CLOSED'
   */
  async trace(): Promise<Trace> {
    return traceOf(await this.open().call('trace', { model: this.id }))
  }

  /**
   * Resolves when all of the asset is in the store, at once where it was; fetches what nobody needs as well. Progress is in bytes of the
   * asset (phase 'fetch').
   * @throws AssetError 'IO' | 'NOT_FOUND' where it does not arrive: another call tries again; 'ABORTED', 'CLOSED'
   */
  async arrived({ signal, onProgress }: LongCall = {}): Promise<void> {
    const progress = onProgress && ((done: number, total: number) => onProgress({ phase: 'fetch', done, total }))
    await this.open().call('arrived', { model: this.id }, { signal, onProgress: progress })
  }

  /** Cancels what is under way and frees the memory. Closing twice is fine. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    // Where the executor has ended already there is nothing left to free.
    await this.client.call('close', { model: this.id }).catch(() => undefined)
    await this.client.leave()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  private open(): ExecutorClient {
    if (this.closed) throw new AssetError('CLOSED', 'Cannot use the model: it was closed')
    return this.client
  }
}

/**
 * Loads a model asset by CID or folder path. Weights are read when they are first needed, within `memory`, and fetched from
 * `sources` where the store lacks them.
 * @throws AssetError 'NOT_FOUND', 'UNSUPPORTED' for an asset without a graph, 'BUDGET_TOO_SMALL' naming the minimum,
 * 'MISSING' without ONNX Runtime, 'CORRUPT', 'IO' where it does not arrive, 'ABORTED'
 */
export async function loadModel(cidOrPath: string, options: LoadOptions = {}): Promise<Model> {
  checkSettings(options)
  const { memory = 'auto', engine = 'auto', map, tokenizer = true, threads, instructionSet } = options
  const { precision = 'exact', kvCache = 'f32', trace = false, store, sources, signal, onProgress } = options
  const bytes = memory === 'auto' ? memory : parseBytes(memory, 'memory')
  const client = joinExecutor()
  try {
    const progress = onProgress && ((done: number, total: number) => onProgress({ phase: 'load', done, total }))
    const { model, facts } = await client.call(
      'load',
      {
        cidOrPath,
        store: store?.path,
        sources: sources && [...sources],
        memory: bytes,
        engine,
        map,
        tokenizer,
        threads,
        instructionSet,
        precision,
        kvCache,
        trace,
      },
      { signal, onProgress: progress },
    )
    return new Model(client, model, facts, cidOrPath, store)
  } catch (error) {
    await client.leave()
    throw error
  }
}

function checkSettings(options: LoadOptions): void {
  const { store, sources, engine, threads, memory, map, tokenizer, signal, trace, precision = 'exact', kvCache = 'f32' } = options
  checkChoice({ engine, threads })
  const wrong = (what: string, wanted: string) => new AssetError('BAD_USAGE', `Cannot load a model with this ${what}; give ${wanted}`)
  if (store !== undefined && typeof store?.path !== 'string') throw wrong('store', 'what openStore() resolves to')
  if (sources !== undefined && !(Array.isArray(sources) && sources.every((source) => typeof source === 'string')))
    throw wrong('sources', 'a list such as ["gateway:http://127.0.0.1:8080"]')
  if (!PRECISIONS.includes(precision)) throw wrong('precision', "'exact' or 'fast'")
  if (!KV_CACHES.includes(kvCache)) throw wrong('kvCache', "'f32' or 'f16'")
  if (trace !== undefined && typeof trace !== 'boolean') throw wrong('trace', 'true or false')
  if (memory !== undefined && typeof memory !== 'number' && typeof memory !== 'string')
    throw wrong('memory', 'bytes, or a text such as "512MiB"')
  if (tokenizer !== undefined && typeof tokenizer !== 'boolean') throw wrong('tokenizer', 'true or false')
  if (map !== undefined && typeof map !== 'boolean') throw wrong('map', 'true or false')
  if (map && memory !== undefined)
    throw new AssetError(
      'BAD_USAGE',
      'Cannot map weights within a budget: the system decides what of them is in memory; give map or memory',
    )
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw wrong('signal', 'an AbortSignal')
}

function checkObject<T extends object>(value: T, what: string): T {
  if (typeof value === 'object' && value !== null) return value
  throw new AssetError('BAD_INPUT', `Cannot run the model: its ${what} are ${JSON.stringify(value)}; give an object`)
}

/** @throws AssetError 'BAD_INPUT' for what is neither text, nor token ids, nor messages */
function checkPrompt(prompt: unknown): Prompt {
  const isMessage = (item: unknown) => typeof (item as Message)?.role === 'string' && typeof (item as Message)?.content === 'string'
  const isList = Array.isArray(prompt) && (prompt.every((item) => typeof item === 'number') || prompt.every(isMessage))
  if (typeof prompt === 'string') return prompt
  if (!isList)
    throw new AssetError('BAD_INPUT', 'Cannot generate: the prompt is neither text, nor token ids, nor messages with role and content')
  return typeof prompt[0] === 'number' ? prompt : (prompt as Message[]).map(({ role, content }) => ({ role, content }))
}
