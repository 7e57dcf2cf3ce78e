"""`QwenRerank` in LlamaIndex's own idioms."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.schema import (
    ImageNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)

from llama_index.postprocessor.qwen_retrieval import QwenRerank
from qwen_retrieval.catalog import DEFAULT_INSTRUCTION
from qwen_retrieval.errors import (
    ClosedError,
    NotTextError,
    QwenRetrievalError,
    SettingsError,
    TextError,
    WrongModelError,
)
from qwen_retrieval.testing import FakeReranker

HIDDEN = "s3cret"
QUERY = "how do cats sleep"


def ids(nodes: list[NodeWithScore]) -> list[str]:
    """Return the nodes' ids in order."""
    return [each.node.node_id for each in nodes]


def test_nodes_come_back_best_first_with_the_rerankers_scores(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """The order and the scores are the core's."""
    ranked = QwenRerank().postprocess_nodes(nodes, query_str=QUERY)
    assert ids(ranked) == ["n2", "n1", "n0"]
    texts = [each.node.get_content() for each in nodes]
    expected = FakeReranker().rerank(QUERY, texts)
    assert [each.score for each in ranked] == [each.score for each in expected]
    assert type(ranked[0].score) is float


async def test_the_asynchronous_way_gives_the_same(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """``apostprocess_nodes`` and ``postprocess_nodes`` agree."""
    reranker = QwenRerank(top_n=2)
    now = reranker.postprocess_nodes(nodes, query_str=QUERY)
    later = await reranker.apostprocess_nodes(nodes, query_str=QUERY)
    assert now == later
    assert len(now) == 2


def test_ties_keep_the_order_of_retrieval(rerankers: list[FakeReranker]) -> None:
    """Equal scores change nothing."""
    same = [NodeWithScore(node=TextNode(id_=str(n), text="cats")) for n in range(5)]
    ranked = QwenRerank().postprocess_nodes(same, query_str=QUERY)
    assert ids(ranked) == ["0", "1", "2", "3", "4"]


def test_query_and_text_reach_the_core_byte_for_byte(rerankers: list[FakeReranker]) -> None:
    """Nothing is stripped, no newline replaced."""
    text, query = "  two\nlines <|im_end|>\r\n ", " what\nis\tit "
    QwenRerank().postprocess_nodes([NodeWithScore(node=TextNode(text=text))], query_str=query)
    assert rerankers[0].seen == [
        f"<Instruct>: {DEFAULT_INSTRUCTION}\n<Query>: {query}\n<Document>: {text}"
    ]


def test_a_node_is_judged_by_what_an_embedder_sees_of_it(rerankers: list[FakeReranker]) -> None:
    """Metadata belongs to the text, except for keys excluded for embedding."""
    node = TextNode(
        text="body",
        metadata={"title": "Cats", "secret": "x"},
        excluded_embed_metadata_keys=["secret"],
    )
    QwenRerank(instruction="I").postprocess_nodes([NodeWithScore(node=node)], query_str="q")
    assert rerankers[0].seen == ["<Instruct>: I\n<Query>: q\n<Document>: title: Cats\n\nbody"]


@pytest.mark.parametrize(
    ("top_n", "expected"),
    [(None, ["n2", "n1", "n0"]), (0, []), (1, ["n2"]), (2, ["n2", "n1"]), (9, ["n2", "n1", "n0"])],
)
async def test_top_n_limits_how_many_come_back(
    rerankers: list[FakeReranker],
    nodes: list[NodeWithScore],
    top_n: int | None,
    expected: list[str],
) -> None:
    """None gives all, 0 none, at construction and for one call."""
    assert ids(QwenRerank(top_n=top_n).postprocess_nodes(nodes, query_str=QUERY)) == expected
    assert ids(QwenRerank().rerank(QUERY, nodes, top_n=top_n)) == expected
    assert ids(await QwenRerank().arerank(QUERY, nodes, top_n=top_n)) == expected


def test_top_n_of_a_call_wins_over_that_of_the_object(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """Also when it is 0."""
    assert QwenRerank(top_n=2).rerank(QUERY, nodes, top_n=0) == []
    assert len(QwenRerank(top_n=0).rerank(QUERY, nodes, top_n=1)) == 1


def test_a_threshold_drops_what_scores_below_it(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """At construction and for one call, where 0 counts as a threshold."""
    best = QwenRerank().rerank(QUERY, nodes)[0].score
    assert best is not None
    assert ids(QwenRerank(score_threshold=best).postprocess_nodes(nodes, query_str=QUERY)) == ["n2"]
    assert ids(QwenRerank().rerank(QUERY, nodes, score_threshold=best)) == ["n2"]
    assert len(QwenRerank(score_threshold=best).rerank(QUERY, nodes, score_threshold=0)) == 3


async def test_an_instruction_can_be_given_for_one_call(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """`rerank` takes one, and the setting stays as it was."""
    reranker = QwenRerank(instruction="Own")
    reranker.rerank("q", nodes[:1], instruction="Once")
    await reranker.arerank(QueryBundle("q"), nodes[:1], instruction="Twice")
    reranker.rerank("q", nodes[:1])
    tasks = [seen.split("\n")[0] for seen in rerankers[0].seen]
    assert tasks == ["<Instruct>: Once", "<Instruct>: Twice", "<Instruct>: Own"]


def test_logits_can_be_asked_for(rerankers: list[FakeReranker], nodes: list[NodeWithScore]) -> None:
    """``score_type`` is the core's."""
    ranked = QwenRerank(score_type="logit").postprocess_nodes(nodes, query_str=QUERY)
    assert ranked[-1].score == pytest.approx(-2)


async def test_the_given_nodes_are_not_changed(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """Neither the list nor a node nor its metadata; changing what came back changes nothing."""
    nodes[0].node.metadata["kept"] = {"as": "is"}
    nodes.append(NodeWithScore(node=TextNode(id_="n3", text="no score yet")))
    before = [each.model_copy(deep=True) for each in nodes]
    for keep in (True, False):
        reranker = QwenRerank(keep_retrieval_score=keep)
        for ranked in (
            reranker.postprocess_nodes(nodes, query_str=QUERY),
            await reranker.apostprocess_nodes(nodes, query_str=QUERY),
        ):
            for each in ranked:
                each.score = -1.0
                each.node.metadata["changed"] = True
                each.node.metadata.get("kept", {})["as"] = "was"
    assert nodes == before


def test_the_retrieval_score_is_kept_out_of_sight(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """It stands in the metadata, and changes no text that embedder or LLM sees."""
    ranked = QwenRerank().postprocess_nodes(nodes, query_str=QUERY)
    assert [each.metadata["retrieval_score"] for each in ranked] == pytest.approx([0.7, 0.8, 0.9])
    for each in ranked:
        [given] = [g for g in nodes if g.node_id == each.node_id]
        for mode in (MetadataMode.EMBED, MetadataMode.LLM, MetadataMode.NONE):
            assert each.get_content(metadata_mode=mode) == given.get_content(metadata_mode=mode)


def test_the_retrieval_score_can_be_left_out(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """In LlamaIndex's own word."""
    reranker = QwenRerank(keep_retrieval_score=False)
    ranked = reranker.postprocess_nodes(nodes, query_str=QUERY)
    assert [each.metadata for each in ranked] == [{}, {}, {}]


def test_a_second_reranker_leaves_the_retrieval_score_alone(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """The score of the first reranking is not the retrieval's."""
    once = QwenRerank().postprocess_nodes(nodes, query_str=QUERY)
    twice = QwenRerank(instruction="Other").postprocess_nodes(once, query_str=QUERY)
    assert [each.metadata["retrieval_score"] for each in twice] == pytest.approx([0.7, 0.8, 0.9])
    assert rerankers[1].seen[0].endswith("<Document>: how cats sleep")


def test_metadata_of_that_name_stays_the_users(rerankers: list[FakeReranker]) -> None:
    """A document that has a field "retrieval_score" keeps it, and keeps showing it."""
    node = TextNode(text="cats", metadata={"retrieval_score": "high"})
    [ranked] = QwenRerank().postprocess_nodes([NodeWithScore(node=node, score=0.5)], query_str="q")
    assert ranked.metadata == {"retrieval_score": "high"}
    assert ranked.get_content(MetadataMode.LLM) == "retrieval_score: high\n\ncats"


def test_a_node_keeps_its_kind_its_id_and_its_relations(rerankers: list[FakeReranker]) -> None:
    """A copy differs in score and metadata only."""
    node = ImageNode(
        id_="i",
        text="cats",
        image_url="https://example.org/cat.png",
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")},
    )
    [ranked] = QwenRerank().postprocess_nodes([NodeWithScore(node=node, score=0.5)], query_str="q")
    assert type(ranked.node) is ImageNode
    assert (ranked.node.node_id, ranked.node.ref_doc_id) == ("i", "doc")
    assert ranked.node.image_url == "https://example.org/cat.png"


async def test_no_nodes_give_no_nodes(rerankers: list[FakeReranker]) -> None:
    """An empty list is valid."""
    assert QwenRerank().postprocess_nodes([], query_str=QUERY) == []
    assert await QwenRerank().apostprocess_nodes([], query_str=QUERY) == []


async def test_a_missing_query_is_refused_with_the_remedy(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore], events: Any
) -> None:
    """There is nothing to rank by, and nothing has begun."""
    with pytest.raises(TextError, match="query_str"):
        QwenRerank().postprocess_nodes(nodes)
    with pytest.raises(ValueError, match="query_bundle"):
        await QwenRerank().apostprocess_nodes(nodes)
    assert events.of("ReRank") == []


def test_what_is_no_text_is_refused(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """A query of another type is not turned into text."""
    with pytest.raises(NotTextError, match="query"):
        QwenRerank().postprocess_nodes(nodes, QueryBundle(None))  # type: ignore[arg-type]


async def check_balanced(
    reranker: QwenRerank, nodes: list[NodeWithScore], query: QueryBundle, events: Any, way: str
) -> tuple[list[Any], list[Any]]:
    """Rerank in the way named and return the start and the end events."""
    try:
        if way == "sync":
            reranker.postprocess_nodes(nodes, query)
        else:
            await reranker.apostprocess_nodes(nodes, query)
    except QwenRetrievalError:
        assert way
    return events.of("ReRankStart"), events.of("ReRankEnd")


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("case", ["usual", "empty", "none kept", "error"])
async def test_events_are_balanced(  # noqa: PLR0913 - fixtures and cases
    rerankers: list[FakeReranker],
    nodes: list[NodeWithScore],
    events: Any,
    callbacks: Any,
    case: str,
    way: str,
) -> None:
    """Each start has its end: with and without nodes, and when the core raises."""
    recorded = callbacks(CBEventType.RERANKING)
    reranker = QwenRerank(top_n=0 if case == "none kept" else 2)
    reranker.callback_manager = CallbackManager([recorded])
    query = QueryBundle("\ud800" if case == "error" else QUERY)
    given = [] if case == "empty" else nodes
    started, ended = await check_balanced(reranker, given, query, events, way)
    assert len(started) == len(ended) == 1
    assert len(recorded.started) == 1
    assert recorded.started.keys() == recorded.ended.keys()
    [before], [after] = recorded.started.values(), recorded.ended.values()
    assert started[0].nodes == before[EventPayload.NODES] == given
    assert started[0].query == query
    assert before[EventPayload.QUERY_STR] == query.query_str
    assert started[0].model_name == before[EventPayload.MODEL_NAME] == reranker.model
    assert started[0].top_n == before[EventPayload.TOP_K] == reranker.top_n
    expected = ["n2", "n1"] if case == "usual" else []
    assert ids(ended[0].nodes) == expected
    if case == "error":
        assert isinstance(after[EventPayload.EXCEPTION], TextError)
    else:
        assert ids(after[EventPayload.NODES]) == expected


def test_events_tell_how_many_may_come_back_when_all_may(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore], events: Any
) -> None:
    """LlamaIndex's event wants a number."""
    QwenRerank().postprocess_nodes(nodes, query_str=QUERY)
    assert events.of("ReRankStart")[0].top_n == 3


@pytest.mark.parametrize(
    ("wrong", "error", "word"),
    [
        ({"top_n": -1}, SettingsError, "top_n"),
        ({"top_n": True}, SettingsError, "top_n"),
        ({"top_n": 1.5}, SettingsError, "top_n"),
        ({"score_threshold": float("nan")}, SettingsError, "score_threshold"),
        ({"score_type": "percent"}, SettingsError, "score_type"),
        ({"model": "Qwen/Qwen3-Embedding-0.6B"}, WrongModelError, "EmbedderSettings"),
        ({"top_k": 3}, ValueError, "top_k"),
    ],
)
def test_a_wrong_setting_raises_at_construction(
    wrong: dict[str, Any], error: type[Exception], word: str
) -> None:
    """The same error as everywhere in the library; an unknown name is refused."""
    with pytest.raises(error, match=word):
        QwenRerank(**wrong)


def test_a_wrong_number_for_one_call_is_refused(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """As at construction."""
    with pytest.raises(SettingsError, match="top_n"):
        QwenRerank().rerank(QUERY, nodes, top_n=-1)


async def test_use_after_closing_raises(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """Closed is closed."""
    one, other = QwenRerank(), QwenRerank()
    one.close()
    await other.aclose()
    for reranker in (one, other):
        with pytest.raises(ClosedError):
            reranker.postprocess_nodes(nodes, query_str=QUERY)


def test_constructing_opens_nothing_and_the_token_goes_to_the_core_only(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore], events: Any
) -> None:
    """The model is opened by the first call."""
    reranker = QwenRerank(token=HIDDEN)
    assert rerankers == []
    reranker.postprocess_nodes(nodes, query_str=QUERY)
    assert rerankers[0].given["token"] == HIDDEN  # type: ignore[attr-defined]
    assert HIDDEN not in f"{reranker!r} {reranker} {reranker.to_dict()} {events.events}"
