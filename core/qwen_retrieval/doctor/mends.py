"""What to set where, as the exact option of each engine."""

from __future__ import annotations

from collections.abc import Mapping

_TEMPLATE = "qwen-retrieval doctor --print-template > qwen3_reranker.jinja"
_MODEL = "{model}"
_AS_RERANKER = (
    '--hf-overrides \'{"architectures":["Qwen3ForSequenceClassification"],'
    '"classifier_from_token":["no","yes"],"is_original_qwen3_reranker":true}\''
)

_MENDS: Mapping[str, Mapping[str, str]] = {
    "reachable": {
        "": "start the server, and give its address as base_url=; behind a key, token= or the"
        " environment variable QWEN_RETRIEVAL_API_KEY",
    },
    "listed": {
        "vllm": "start the server with --model {model}, or give served_model= what it lists",
        "": "give served_model= a name that the server lists",
    },
    "embedder": {
        "vllm": "start the server with --model {model} --runner pooling and no"
        " Qwen3ForSequenceClassification override",
        "sglang": "start the server with --model-path {model} --is-embedding",
        "llama_cpp": "start llama-server with --embedding and an embedding model",
        "": "serve {model}, an embedding model, at this address",
    },
    "reranker": {
        "vllm": f"start the server with --model {_MODEL} --runner pooling {_AS_RERANKER}",
        "sglang": "start the server with --model-path {model}, without --is-embedding",
        "llama_cpp": "start llama-server with --reranking and a reranker's GGUF",
        "": "serve {model}, a reranker, at this address",
    },
    "model": {
        "vllm": "start the server with --model {model}",
        "sglang": "start the server with --model-path {model}",
        "tei": "start the server with --model-id {model}",
        "llama_cpp": "start llama-server with -m and the GGUF of {model}",
        "infinity": "start the server with --model-id {model}",
        "ollama": "pull {model}, and name it as served_model=",
        "": "serve {model}",
    },
    "EOS": {
        "vllm": "serve the tokenizer that ends texts with <|endoftext|>: --tokenizer {model}, with"
        " the tokenizer.json as released",
        "llama_cpp": "convert the model anew with a current convert_hf_to_gguf.py, or start with"
        " --override-kv tokenizer.ggml.add_eos_token=bool:true",
        "ollama": "pull a GGUF made by a current convert_hf_to_gguf.py"
        " (tokenizer.ggml.add_eos_token is true in it)",
        "": "serve the model's own tokenizer.json, whose post_processor appends <|endoftext|>",
    },
    "pooling": {
        "vllm": 'start the server with --pooler-config \'{"seq_pooling_type":"LAST"}\'',
        "tei": "start the server with --pooling last-token",
        "llama_cpp": "start llama-server with --pooling last",
        "infinity": 'set "pooling_mode_lasttoken": true, and the others to false, in the model\'s'
        " 1_Pooling/config.json",
        "ollama": "pull a GGUF with qwen3.pooling_type = 3 (last)",
        "": "pool by the last token",
    },
    "instruction doubled": {
        "tei": "start the server without --default-prompt and --default-prompt-name",
        "infinity": 'remove "default_prompt_name" from the model\'s'
        " config_sentence_transformers.json",
        "": "remove the default prompt from the server: texts carry their instruction already",
    },
    "Matryoshka": {
        "vllm": "start the server with --hf-overrides '{\"is_matryoshka\":true}'",
        "sglang": "start the server with --json-model-override-args '{\"is_matryoshka\":true}'",
        "": "upgrade the server, or leave the width out of its requests: this library cuts itself",
    },
    "unit norm": {
        "tei": "ask with normalize: true, or upgrade the server",
        "": "upgrade the server, or leave the width out of its requests: this library cuts, then"
        " scales, itself",
    },
    "batch": {
        "tei": "upgrade the server (its padding side was wrong: issue 642)",
        "": "upgrade the server, and mask its padding",
    },
    "long text": {
        "tei": "start the server with --auto-truncate false",
        "ollama": 'ask with "truncate": false, and raise num_ctx',
        "llama_cpp": "start llama-server with larger -c and -ub",
        "": "start the server so that longer texts are refused, or with a longer context",
    },
    "trap texts": {
        "vllm": "start the server with --dtype bfloat16, or float32",
        "sglang": "start the server with --dtype bfloat16, or float32",
        "tei": "start the server with --dtype float32",
        "infinity": "start the server with --dtype bfloat16, or float32",
        "llama_cpp": "serve a GGUF of BF16, F32 or Q8_0, and leave --flash-attn off",
        "": "compute in bfloat16 or float32 instead of float16",
    },
    "template": {
        "vllm": f"start the server with --chat-template qwen3_reranker.jinja ({_TEMPLATE})",
        "sglang": f"start the server with --chat-template qwen3_reranker.jinja ({_TEMPLATE})",
        "llama_cpp": "convert the model anew with a current convert_hf_to_gguf.py, which stores"
        " the prompt",
        "": "render the official prompt on the server",
    },
    "answers": {
        "vllm": 'write "classifier_from_token":["no","yes"], in this order, into --hf-overrides',
        "": 'serve P("yes"), and not P("no")',
    },
    "instruction": {
        "": f"put the request's instruction into the server's template ({_TEMPLATE})",
    },
    "known answers": {
        "": "serve {model}, as released and unquantised, and examine it with --local"
    },
    "vectors vary": {
        "": "serve the checkpoint as released: a conversion has lost its weights",
    },
    "scores vary": {
        "vllm": f"start the server with {_AS_RERANKER}, and the checkpoint as released",
        "": "serve the checkpoint as released: a conversion has lost its head or its weights",
    },
}


def mend(fault: str, server: str | None, model: str) -> str:
    """Return the option that mends a fault of an engine's set-up."""
    known = _MENDS[fault]
    words = known.get(str(server), known[""])
    return words.replace(_MODEL, model)
