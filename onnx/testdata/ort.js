// Runs ONNX files in ONNX Runtime: node ort.js PACKAGE < jobs, where PACKAGE is the folder of onnxruntime-node and every
// line of jobs is {"model", "input", "shape", "output"}: paths, the latter two of raw float32. Prints "ok" or the error
// for every line.
'use strict';
const fs = require('fs');
const ort = require(process.argv[2]);

async function run(job) {
  const session = await ort.InferenceSession.create(job.model, { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 });
  const raw = fs.readFileSync(job.input);
  const x = new Float32Array(raw.buffer, raw.byteOffset, raw.length / 4);
  const out = await session.run({ [session.inputNames[0]]: new ort.Tensor('float32', x, job.shape) });
  const y = out[session.outputNames[0]].data;
  fs.writeFileSync(job.output, Buffer.from(y.buffer, y.byteOffset, y.byteLength));
  await session.release();
}

async function main() {
  for (const line of fs.readFileSync(0, 'utf8').split('\n')) {
    if (!line) continue;
    try {
      await run(JSON.parse(line));
      console.log('ok');
    } catch (e) {
      console.log(String(e.message).split('\n')[0]);
    }
  }
}

main();
