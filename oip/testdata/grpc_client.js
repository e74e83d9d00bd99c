// Calls a server of the Open Inference Protocol with @grpc/grpc-js and the
// protocol's definitions: node grpc_client.js ADDRESS PROTO_DIR
const grpc = require('@grpc/grpc-js')
const loader = require('@grpc/proto-loader')
const [address, dir] = process.argv.slice(2)
const definition = loader.loadSync('grpc_service.proto', { includeDirs: [dir], keepCase: true, longs: String, defaults: true, oneofs: true })
const { GRPCInferenceService } = grpc.loadPackageDefinition(definition).inference
const client = new GRPCInferenceService(address, grpc.credentials.createInsecure())

const call = (method, request, deadline) => new Promise((resolve, reject) =>
  client[method](request, { deadline: Date.now() + (deadline || 10000) }, (err, answer) => err ? reject(err) : resolve(answer)))

// fails returns the status code with which a call ends.
const fails = (method, request) => call(method, request).then(() => 0, err => err.code)

const image = (data, parameters) => ({
  model_name: 'toy',
  id: 'js',
  parameters,
  inputs: [{ name: 'images', datatype: 'UINT8', shape: [1, 2, 2, 1] }],
  raw_input_contents: [Buffer.from(data)]
})

async function main () {
  const ready = await call('ServerReady', {})
  const metadata = await call('ModelMetadata', { name: 'toy' })
  console.log('ready', ready.ready, metadata.name, metadata.inputs[0].shape.join(), metadata.properties.max_batch)

  const raw = await call('ModelInfer', image([0, 255, 255, 0], { timeout: { int64_param: 5000000 } }))
  console.log('raw', raw.id, raw.raw_output_contents[1].readBigInt64LE().toString(), raw.parameters.deadline_met.bool_param)

  const typed = await call('ModelInfer', {
    model_name: 'toy',
    inputs: [{ name: 'images', datatype: 'FP32', shape: [1, 2, 2, 1], contents: { fp32_contents: [0, 1, 1, 0] } }],
    outputs: [{ name: 'label' }],
    parameters: { binary_data_output: { bool_param: false } }
  })
  console.log('typed', typed.outputs[0].contents.int64_contents.join(), typed.raw_output_contents.length)

  const text = await call('ModelInfer', {
    model_name: 'simple_string',
    inputs: ['INPUT0', 'INPUT1'].map(name => ({
      name, datatype: 'BYTES', shape: [1, 16], contents: { bytes_contents: Array.from({ length: 16 }, (_, i) => Buffer.from(String(i))) }
    })),
    outputs: [{ name: 'OUTPUT0', parameters: { classification: { int64_param: 1 } } }]
  }).catch(err => err.code)
  console.log('classes of text', text)

  console.log('errors', await fails('ModelInfer', image([1, 2, 3])), await fails('ModelReady', { name: 'none' }),
    await fails('ModelInfer', image([0, 0, 0, 0], { timeout: { int64_param: 1 } })), await fails('LogSettings', {}))

  const stream = client.ModelStreamInfer()
  const labels = []
  stream.on('data', answer => labels.push(answer.infer_response.raw_output_contents[1].readBigInt64LE().toString()))
  for (let i = 0; i < 3; i++) stream.write(image([0, 255, 255, 0]))
  stream.end()
  await new Promise((resolve, reject) => stream.on('end', resolve).on('error', reject))
  console.log('stream', labels.join())
  const statistics = await call('ModelStatistics', { name: 'toy' })
  console.log('inferences', statistics.model_stats[0].inference_count)
}

main().catch(err => { console.error(err); process.exit(1) })
