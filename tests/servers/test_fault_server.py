"""The fault server answers as the engines do: what was seen of them, each in one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from contract.reference import PREFIX, SUFFIX, ReferenceEmbedder, ReferenceReranker
from servers import faults, networks
from servers.fault_server import FaultServer

QUERY, DOCUMENT = "How do I copy a file?", "shutil.copy2\nLike copy() but also metadata."
TEXT = "Copy a file to another place."
TASK = "Given a web search query, retrieve relevant passages that answer the query"

Post = Callable[..., Any]


@pytest.fixture
def serving() -> Iterator[Callable[..., Post]]:
    """Start a server and return how to post to it: ``post("/v1/embeddings", input="a")``."""
    running: list[FaultServer] = []

    def start(engine: str, **options: Any) -> Post:
        server = FaultServer(engine, **options).start()
        running.append(server)

        def post(path: str, status: int = 200, **body: Any) -> Any:
            answer = httpx.post(server.url + path, json=body, timeout=30)
            assert answer.status_code == status, answer.text
            return answer.json()

        return post

    yield start
    for each in running:
        each.stop()


@pytest.fixture(scope="module")
def plain() -> ReferenceEmbedder:
    """The embedder's plain forward."""
    return ReferenceEmbedder(networks.EMBEDDER)


@pytest.fixture(scope="module")
def judge() -> ReferenceReranker:
    """The reranker's plain forward."""
    return ReferenceReranker(networks.RERANKER)


def vector(answer: Any, place: int = 0) -> np.ndarray:
    """Return a vector of OpenAI's shape."""
    return np.asarray(answer["data"][place]["embedding"])


def prompt(query: str, document: str, task: str = TASK) -> str:
    """Return the official prompt."""
    return f"{PREFIX}<Instruct>: {task}\n<Query>: {query}\n<Document>: {document}{SUFFIX}"


def test_vllm_gives_text_an_end_and_ids_none(serving: Any, plain: ReferenceEmbedder) -> None:
    """Whoever sends ids closes them."""
    post = serving("vllm")
    ids = networks.embedder().tokens(TEXT, special=False)
    text = vector(post("/v1/embeddings", input=TEXT))
    closed = vector(post("/v1/embeddings", input=[[*ids, networks.embedder().end]]))
    bare = vector(post("/v1/embeddings", input=[ids]))
    np.testing.assert_allclose(text, plain.vector(TEXT), atol=1e-6)
    np.testing.assert_allclose(closed, text, atol=1e-6)
    assert text @ bare < 0.99


def test_vllm_cuts_only_with_the_override(serving: Any, plain: ReferenceEmbedder) -> None:
    """And then scales again."""
    cut = vector(serving("vllm")("/v1/embeddings", input=TEXT, dimensions=64))
    np.testing.assert_allclose(cut, plain.vector(TEXT, dimensions=64), atol=1e-6)
    refused = serving("vllm", matryoshka=False)("/v1/embeddings", 400, input=TEXT, dimensions=64)
    assert "matryoshka" in refused["error"]["message"]


def test_vllm_classifies_a_rendered_prompt_exactly(serving: Any, judge: ReferenceReranker) -> None:
    """Whatever template the server has; `/rerank` is only as good as that."""
    expected = judge.probability(QUERY, DOCUMENT)
    for template in ("exact", "shipped", "none"):
        post = serving("vllm", serves="reranker", template=template)
        for item in (prompt(QUERY, DOCUMENT), networks.reranker().tokens(prompt(QUERY, DOCUMENT))):
            found = post("/classify", input=[item])["data"][0]["probs"][0]
            assert found == pytest.approx(expected, abs=1e-6)
        ranked = post("/rerank", query=QUERY, documents=[DOCUMENT])["results"]
        assert (abs(ranked[0]["relevance_score"] - expected) < 1e-6) is (template == "exact")


def test_vllm_ignores_the_instruction_without_a_template(serving: Any) -> None:
    """With status 200; and it ignores fields that it does not know."""
    post = serving("vllm", serves="reranker", template="none")
    both = [
        post("/rerank", query=QUERY, documents=[DOCUMENT], instruction=task, nonsense=1)
        for task in (TASK, "another")
    ]
    assert both[0]["results"] == both[1]["results"]


def test_an_embedders_vllm_reranks_by_cosines(serving: Any, plain: ReferenceEmbedder) -> None:
    """With status 200."""
    found = serving("vllm")("/rerank", query=QUERY, documents=[DOCUMENT])["results"]
    expected = plain.vector(QUERY) @ plain.vector(DOCUMENT)
    assert found[0]["relevance_score"] == pytest.approx(expected, abs=1e-6)


def test_vllm_refuses_what_is_too_long_and_what_it_does_not_serve(serving: Any) -> None:
    """By 400 and 404, in OpenAI's shape."""
    post = serving("vllm", max_length=8)
    assert "8 tokens" in post("/v1/embeddings", 400, input=TEXT * 9)["error"]["message"]
    assert post("/v1/embeddings", 404, input=TEXT, model="other")["error"]["code"] == 404
    assert post("/classify", 404, input=TEXT)["error"]["code"] == 404


def test_vllm_guards_only_its_v1_paths(serving: Any) -> None:
    """`--api-key` leaves `/rerank` and `/pooling` open."""
    post = serving("vllm", api_key="k")
    assert post("/v1/embeddings", 401, input=TEXT) == {"error": "Unauthorized"}
    assert post("/pooling", input=TEXT)["data"]


def test_sglang_scores_ids_exactly(serving: Any, judge: ReferenceReranker) -> None:
    """P("yes") is the second where "no" was named first; its own template is another."""
    post = serving("sglang", serves="reranker", template="shipped")
    network = networks.reranker()
    whole = network.tokens(prompt(QUERY, DOCUMENT))
    answer = post(
        "/v1/score",
        query=whole[:20],
        items=[whole[20:]],
        label_token_ids=[network.no, network.yes],
        apply_softmax=True,
    )
    expected = judge.probability(QUERY, DOCUMENT)
    assert answer["scores"][0][1] == pytest.approx(expected, abs=1e-6)
    ranked = post("/v1/rerank", query=QUERY, documents=[DOCUMENT])
    assert abs(ranked[0]["score"] - expected) > 1e-4


def test_tei_has_limits_and_tells_them(serving: Any) -> None:
    """32 inputs, no empty one, no reranker; bare lists."""
    post = serving("tei")
    assert np.asarray(post("/embed", inputs=[TEXT] * 2)).shape == (2, 256)
    assert post("/embed", 422, inputs=[TEXT] * 33)["error_type"] == "Validation"
    assert post("/embed", 400, inputs=[""])["error_type"] == "Empty"
    assert post("/rerank", 424, query="a", texts=["b"])["error_type"] == "Backend"


def test_tei_doubles_an_instruction_by_its_default_prompt(
    serving: Any, plain: ReferenceEmbedder
) -> None:
    """`--default-prompt` stands before whatever the client sends."""
    head = f"Instruct: {TASK}\nQuery:"
    found = serving("tei", default_prompt=head)("/embed", inputs=[head + QUERY])
    np.testing.assert_allclose(found[0], plain.vector(head + head + QUERY), atol=1e-6)


def test_llama_server_ignores_width_and_instruction(serving: Any, judge: ReferenceReranker) -> None:
    """And replaces a literal {document} in the query."""
    assert len(vector(serving("llama_cpp")("/v1/embeddings", input=TEXT, dimensions=64))) == 256
    post = serving("llama_cpp", serves="reranker")
    found = post("/rerank", query=QUERY, documents=[DOCUMENT], instruction="another")
    score = found["results"][0]["relevance_score"]
    assert score == pytest.approx(judge.probability(QUERY, DOCUMENT), abs=1e-6)
    literal = post("/rerank", query="{document}", documents=[DOCUMENT])
    replaced = judge.probability(DOCUMENT, DOCUMENT)
    assert literal["results"][0]["relevance_score"] == pytest.approx(replaced, abs=1e-6)
    assert post("/v1/embeddings", 501, input=TEXT)["error"]["code"] == 501


def test_infinity_strips_and_does_not_scale_again(serving: Any, plain: ReferenceEmbedder) -> None:
    """A cut vector is shorter than one."""
    post = serving("infinity")
    found = vector(post("/embeddings", input=[f"  {TEXT}\n"], dimensions=64))
    np.testing.assert_allclose(found, plain.vector(TEXT)[:64], atol=1e-6)
    assert np.linalg.norm(found) < 0.95
    post("/embeddings", 422, input=[[1, 2]])


def test_ollama_cuts_text_in_silence(serving: Any, plain: ReferenceEmbedder) -> None:
    """Unless it is told not to; a cut vector is of unit length."""
    post, model = serving("ollama", max_length=12), str(networks.EMBEDDER)
    found = post("/api/embed", model=model, input=[TEXT * 9], dimensions=64)["embeddings"][0]
    expected = plain.vector(TEXT * 9, max_length=12, dimensions=64)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert "length" in post("/api/embed", 400, model=model, input=TEXT * 9, truncate=False)["error"]


def test_dashscope_takes_ten_texts_and_an_instruction(
    serving: Any, plain: ReferenceEmbedder
) -> None:
    """In its own envelope."""
    post, path = serving("dashscope"), "/api/v1/services/embeddings/text-embedding/text-embedding"
    model = str(networks.EMBEDDER)
    parameters = {"text_type": "query", "instruct": TASK, "dimension": 64}
    answer = post(path, model=model, input={"texts": [QUERY]}, parameters=parameters)
    found = answer["output"]["embeddings"][0]["embedding"]
    np.testing.assert_allclose(found, plain.query(QUERY, dimensions=64), atol=1e-6)
    post(path, 400, model=model, input={"texts": [QUERY] * 11})


MISTAKES = [
    {"pooling": "mean"},
    {"end": False},
    {"default_prompt": "Query: "},
    {"trained": False},
    {"truncates": True, "max_length": 5},
    {"constant": True},
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: next(iter(each)))
def test_a_mistaken_set_up_changes_the_vectors(
    serving: Any, plain: ReferenceEmbedder, mistake: dict[str, Any]
) -> None:
    """Each with status 200 and a vector of unit length."""
    found = vector(serving("vllm", **mistake)("/v1/embeddings", input=TEXT))
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    assert found @ plain.vector(TEXT) < 0.99


def test_the_other_mistakes_show_too(serving: Any) -> None:
    """A cut vector's length, a NaN, neighbours, and answers the wrong way round."""
    cut = vector(serving("openai", renormalises=False)("/v1/embeddings", input=TEXT, dimensions=64))
    assert np.linalg.norm(cut) < 0.95
    overflowing = serving("tei", overflows=True)("/embed", inputs=["import os", TEXT])
    assert overflowing[0][0] is None
    assert overflowing[1][0] is not None
    padded = serving("vllm", pads=True)("/v1/embeddings", input=[TEXT, TEXT * 5])
    alone = serving("vllm")("/v1/embeddings", input=TEXT)
    assert vector(padded) @ vector(alone) < 0.9999
    right, swapped = (
        serving("vllm", serves="reranker", swaps_answers=swaps)(
            "/classify", input=prompt(QUERY, DOCUMENT)
        )["data"][0]["probs"][0]
        for swaps in (False, True)
    )
    assert right + swapped == pytest.approx(1, abs=1e-6)


def test_faults_come_as_often_as_asked_and_requests_are_counted() -> None:
    """After so many good answers, so many times; probes are left alone."""
    with FaultServer("vllm") as server, httpx.Client(base_url=server.url) as client:
        server.inject(faults.status(503, retry_after=7), times=2, after=1)
        found = [client.post("/v1/embeddings", json={"input": "a"}) for _ in range(4)]
        assert [each.status_code for each in found] == [200, 503, 503, 200]
        assert found[1].headers["retry-after"] == "7"
        assert client.get("/v1/models").status_code == 200
        assert [each.status for each in server.work] == [200, 503, 503, 200]
        assert len(server.requests) == 5
        assert server.connections == 1


def test_the_server_runs_alone() -> None:
    """Two of them have nothing in common but the model's weights."""
    with FaultServer("vllm") as one, FaultServer("vllm", api_key="k") as other:
        one.inject(faults.status(500))
        assert httpx.post(f"{one.url}/pooling", json={"input": "a"}).status_code == 500
        assert httpx.post(f"{other.url}/pooling", json={"input": "a"}).status_code == 200
        assert len(one.requests) == len(other.requests) == 1
