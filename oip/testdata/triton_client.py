"""Drives the server at sys.argv[1] (host:port) with Triton's own client. The model toy takes images of 28x28x1
and gives class j the sum over k of pixel[k] * (1 + j*k)."""

import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

client = triton.InferenceServerClient(sys.argv[1], concurrency=4)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("toy", "1")
assert not client.is_model_ready("none")
assert client.get_model_metadata("toy")["inputs"][0]["shape"] == [-1, 28, 28, 1]

pixels = np.random.default_rng(1).integers(0, 256, (3, 28, 28, 1), dtype=np.uint8)
flat = pixels.reshape(3, 784).astype(np.float64) / 255
want = np.stack([flat @ (1 + j * np.arange(784.0)) for j in range(10)], 1)


def check(result):
    np.testing.assert_allclose(result.as_numpy("logits"), want, rtol=1e-3)
    np.testing.assert_array_equal(result.as_numpy("label"), want.argmax(1))
    assert result.get_response()["parameters"]["subnet"] in ("small", "large")


calls = 0
for datatype, images in ("UINT8", pixels), ("FP32", (pixels / 255).astype(np.float32)):
    for binary in True, False:
        image = triton.InferInput("images", images.shape, datatype)
        image.set_data_from_numpy(images, binary_data=binary)
        for outputs in (None, (True, False), (False, True)):
            wanted = outputs and [triton.InferRequestedOutput("label", binary_data=outputs[0]),
                                  triton.InferRequestedOutput("logits", binary_data=outputs[1])]
            for coding in None, "gzip", "deflate":
                result = client.infer("toy", [image], outputs=wanted, request_id="q7", priority=1, timeout=10_000_000,
                                      request_compression_algorithm=coding, response_compression_algorithm=coding)
                assert result.get_response()["id"] == "q7"
                check(result)
                calls += 1
for pending in [client.async_infer("toy", [image]) for _ in range(8)]:
    check(pending.get_result())
    calls += 1
for wrong, status in ({"model_name": "none"}, "404"), ({"model_name": "toy", "timeout": 1}, "504"), (
        {"model_name": "toy", "parameters": {"subnet": "none"}}, "400"):
    try:
        client.infer(inputs=[image], **wrong)
        raise AssertionError(f"{wrong} is accepted")
    except InferenceServerException as e:
        assert e.status() == status, e
print("answered", calls)
