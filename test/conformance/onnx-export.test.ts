import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, inspect, loadModel, plan } from '../../src/api/index.js'
import { worstDifference } from '../executor/assets.js'
import { temporary } from '../sources/files.js'

const python = process.env.MASSET_PYTHON ?? 'python3'
const script = fileURLToPath(new URL('../../../scripts/export_onnx.py', import.meta.url))

function has(modules: string): boolean {
  try {
    execFileSync(python, ['-c', `import ${modules}`], { stdio: 'ignore' })
    return true
  } catch {
    console.warn(`skipped: exports that need ${modules}, which are not installed for python3 (MASSET_PYTHON names another)`)
    return false
  }
}

// A module of what exporters like to change: lists, batch normalisation, recurrence, dropout, linear weights.
const ZOO = `
import json, sys, torch

class Zoo(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = torch.nn.Embedding(20, 16)
        self.conv = torch.nn.Sequential(torch.nn.Conv1d(16, 16, 3, padding=1), torch.nn.BatchNorm1d(16), torch.nn.ReLU())
        self.rnn = torch.nn.LSTM(16, 8, 2, batch_first=True, bidirectional=True)
        self.drop = torch.nn.Dropout(0.5)
        self.norm = torch.nn.LayerNorm(16)
        self.head = torch.nn.ModuleList([torch.nn.Linear(16, 16), torch.nn.Linear(16, 20)])

    def forward(self, ids):
        x = self.conv(self.emb(ids).transpose(1, 2)).transpose(1, 2)
        x = self.norm(self.drop(self.rnn(x)[0]))
        return self.head[1](torch.relu(self.head[0](x)))

def zoo():
    torch.manual_seed(0)
    model = Zoo()
    for vector in (p for p in model.parameters() if p.ndim == 1):
        torch.nn.init.normal_(vector)
    for _ in range(3):
        model(torch.randint(0, 20, (4, 7)))
    return model

inputs = {'ids': torch.arange(14).reshape(2, 7)}

if __name__ == '__main__':
    torch.save(zoo().state_dict(), sys.argv[1] + '/zoo.pt')
    with open(sys.argv[1] + '/golden.json', 'w') as file:
        json.dump(zoo().eval()(torch.arange(15).reshape(3, 5)).flatten().tolist(), file)
`

describe.runIf(has('torch'))('a module that export_onnx.py exported', { timeout: 200_000 }, () => {
  let folder: Awaited<ReturnType<typeof temporary>>
  beforeAll(async () => {
    folder = await temporary()
    await folder.write('zoo.py', ZOO)
    run(`${folder.path}/zoo.py`, folder.path)
    await fragment(`${folder.path}/zoo.pt`, { out: `${folder.path}/checkpoint` })
  }, 200_000)
  afterAll(() => folder[Symbol.asyncDispose]())

  const run = (...args: string[]) =>
    execFileSync(python, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, PYTHONPATH: [folder.path, process.env.PYTHONPATH].join(':'), PYTHONDONTWRITEBYTECODE: '1' },
    })

  const exporters = ['torchscript', ...(has('torch, onnxscript') ? ['dynamo'] : [])]
  it.each(exporters)('by %s has the fragments of its checkpoint, and gives what it gives', async (exporter) => {
    const [model, asset] = [`${folder.path}/${exporter}.onnx`, `${folder.path}/${exporter}`]
    const dynamic = ['--dynamic', 'ids:0=batch', '--dynamic', 'ids:1=sequence']
    run(script, 'zoo:zoo', 'zoo:inputs', model, ...dynamic, '--output', 'logits', '--exporter', exporter)
    await fragment(model, { out: asset })
    // Batch normalisation counts its batches, which nobody reads.
    const modules = async (path: string) => (await inspect(path)).modules.map(({ key, cid }) => [key, key === 'conv.1' ? '' : cid])
    expect((await modules(asset)).filter(([key]) => key !== '@graph')).toEqual(await modules(`${folder.path}/checkpoint`))
    const wanted: number[] = JSON.parse(await readFile(`${folder.path}/golden.json`, 'utf8'))
    const { minimum } = await plan(asset)
    await using loaded = await loadModel(asset, { memory: minimum })
    const ids = { type: 'int64' as const, data: BigInt64Array.from({ length: 15 }, (_, i) => BigInt(i)), dims: [3, 5] }
    const { logits } = await loaded.run({ ids })
    expect(logits!.dims).toEqual([3, 5, 20])
    expect(worstDifference(logits!.data as Float32Array, wanted)).toBeLessThan(1e-4)
  })
})
