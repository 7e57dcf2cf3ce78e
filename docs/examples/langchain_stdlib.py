"""Ask the documentation of Python's standard library in plain words, with LangChain.

    python langchain_stdlib.py --question "how do I copy a file together with its permissions"

A chain embeds the question, takes the nearest entries from LangChain's own vector store, reranks
them, and hands the best to a language model.
"""

from __future__ import annotations

from typing import Any

from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from demo import DemoSettings, Hit, documents, main
from langchain_qwen_retrieval import QwenEmbeddings, QwenReranker

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Answer from these entries:\n----\n{context}"), ("human", "{question}")]
)


def echo(prompt: PromptValue) -> str:
    """Answer with the context's first paragraph: a stand-in that needs no key and no weights."""
    return prompt.to_string().split("----\n")[1].split("\n\n")[0]


def context(found: dict[str, Any]) -> str:
    """Return the text of the documents, for the prompt."""
    return "\n\n".join(document.page_content for document in found["documents"])


def run(settings: DemoSettings) -> tuple[list[Hit], str]:
    """Return the reranked entries, best first, and the answer of the chain."""
    shared: dict[str, Any] = {
        "device": settings.device,
        "dtype": settings.dtype,
        "progress_bar": settings.progress_bar,
    }
    embeddings = QwenEmbeddings(model=settings.embedder, dimensions=settings.dimensions, **shared)
    reranker = QwenReranker(model=settings.reranker, top_n=settings.keep, **shared)
    store = InMemoryVectorStore.from_documents(
        [Document(entry.text, id=entry.id) for entry in documents(settings)], embeddings
    )
    retriever = ContextualCompressionRetriever(
        base_retriever=store.as_retriever(search_kwargs={"k": settings.retrieve}),
        base_compressor=reranker,
    )
    model = RunnableLambda(
        echo
    )  # <- put a real model here, for example ChatOllama(model="qwen3:4b")
    answer = RunnablePassthrough.assign(context=context) | PROMPT | model | StrOutputParser()
    chain: Runnable[str, dict[str, Any]] = RunnableParallel(
        documents=retriever, question=RunnablePassthrough()
    ).assign(answer=answer)
    found = chain.invoke(settings.question)
    hits = [
        Hit(document.id, document.metadata["relevance_score"], document.page_content)
        for document in found["documents"]
    ]
    return hits, found["answer"]


if __name__ == "__main__":
    main(run)
