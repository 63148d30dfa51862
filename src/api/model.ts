import { Tensor } from 'onnxruntime-common'
import type { ModuleInfo } from '../asset/module-list.js'
import { parseBytes } from '../core/bytes.js'
import { AssetError } from '../core/errors.js'
import type { LongCall } from '../core/progress.js'
import type { EngineChoice } from '../engines/native/choose.js'
import { type ExecutorClient, joinExecutor } from '../executor/client.js'
import type { Generated, GenerateOptions, Prompt } from '../executor/generate.js'
import type { ModelFacts, ModelStats } from '../executor/protocol.js'
import { type PlainTensor, toPlain, toTensor } from '../executor/tensors.js'
import type { Store } from '../store/store.js'
import { inspect } from './inspect.js'

/** How a model is loaded. */
export interface LoadOptions extends LongCall {
  /** most bytes of weights in memory, such as `512MiB`; 'auto' takes three fifths of the free memory */
  readonly memory?: number | string | undefined
  /** what computes: 'native' (the addon), 'onnx' (ONNX Runtime), or 'auto' (default): native where that can run the model */
  readonly engine?: EngineChoice | undefined
  /** threads that compute in the native engine; as many as the processor has when left out; results don't depend on it */
  readonly threads?: number | undefined
  /** the native engine's instructions: 'avx512', 'avx2', 'neon' or 'portable'; the best there is when left out */
  readonly instructionSet?: string | undefined
  /** where to look for a CID; the default store when left out */
  readonly store?: Store | undefined
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

  /** The modules with CID, bytes, element types, and whether they are in memory now. @throws AssetError 'CLOSED' */
  async modules(): Promise<LoadedModule[]> {
    const resident = new Set(await this.open().call('resident', { model: this.id }))
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
    const plain = Object.entries(feeds).map(([name, value]): [string, PlainTensor] => {
      const { type, data, dims } = value instanceof Tensor ? toPlain(value) : value
      return [name, { type, data, dims: [...dims] }]
    })
    const outputs = await this.open().call('run', { model: this.id, feeds: plain }, options)
    return Object.fromEntries(outputs.map(([name, tensor]) => [name, toTensor(tensor, name)]))
  }

  /**
   * Generates token by token after a prompt: text, a conversation (rendered by the model's chat template), or token ids.
   * Calls on one model take turns, token by token. Leaving the loop cancels and frees the cache at once.
   * @throws AssetError 'BAD_INPUT' for a parameter out of its range, 'UNSUPPORTED', 'ABORTED', 'CLOSED'
   */
  async *generate(
    prompt: Prompt,
    { signal, ...options }: GenerateOptions & { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<Generated> {
    const client = this.open()
    const stream = await client.call('startGenerate', { model: this.id, prompt, options }, { signal })
    try {
      for (;;) {
        const generated = await client.call('nextGenerated', { stream }, { signal })
        if (!generated) return
        yield generated
      }
    } finally {
      if (!this.closed) await client.call('endGenerate', { stream })
    }
  }

  /** One vector (width) for each text, pooled and scaled as the model says. @throws AssetError 'UNSUPPORTED' | 'MISSING' | 'ABORTED' */
  async embed(texts: readonly string[], options: { readonly signal?: AbortSignal } = {}): Promise<Float32Array[]> {
    return this.open().call('embed', { model: this.id, texts: [...texts] }, options)
  }

  /** Counters since the model was loaded. @throws AssetError 'CLOSED' */
  async stats(): Promise<ModelStats> {
    return this.open().call('stats', { model: this.id })
  }

  /** Cancels what is under way and frees the memory. Closing twice is fine. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    await this.client.call('close', { model: this.id })
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
 * Loads a model asset by CID or folder path. Weights are read when they are first needed, within `memory`.
 * @throws AssetError 'NOT_FOUND', 'UNSUPPORTED' for an asset without a graph, 'BUDGET_TOO_SMALL' naming the minimum,
 * 'MISSING' without ONNX Runtime, 'CORRUPT', 'ABORTED'
 */
export async function loadModel(cidOrPath: string, options: LoadOptions = {}): Promise<Model> {
  const { memory = 'auto', engine = 'auto', threads, instructionSet, store, signal, onProgress } = options
  const bytes = memory === 'auto' ? memory : parseBytes(memory, 'memory')
  const client = joinExecutor()
  try {
    const progress = onProgress && ((done: number, total: number) => onProgress({ phase: 'load', done, total }))
    const { model, facts } = await client.call(
      'load',
      { cidOrPath, store: store?.path, memory: bytes, engine, threads, instructionSet },
      { signal, onProgress: progress },
    )
    return new Model(client, model, facts, cidOrPath, store)
  } catch (error) {
    await client.leave()
    throw error
  }
}
