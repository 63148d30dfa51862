// A service that rewrites dates: node service.mjs CID
import Fastify from 'fastify'
import { loadModel } from 'module-assets'

const model = await loadModel(process.argv[2], { memory: '900KiB' })
const app = Fastify()

app.post('/rewrite', async (request, reply) => {
  const gone = new AbortController()
  reply.raw.on('close', () => gone.abort())
  let text = ''
  for await (const piece of model.generate(request.body.text, { signal: gone.signal })) text += piece.text
  return { text }
})
app.get('/stats', () => model.stats())

process.once('SIGTERM', async () => {
  await app.close()
  await model.close()
})
console.log(await app.listen({ host: '127.0.0.1', port: 0 }))
