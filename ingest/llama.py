"""The border to llama-index: our embedders and chunks as its types. Importing this loads llama-index (some 2 s)."""

from __future__ import annotations

from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from pydantic import PrivateAttr

from ingest.embed import Embedder
from ingest.records import Chunk


class MatlitEmbedding(BaseEmbedding):
    """Any embedder of `ingest.embed` where llama-index wants one: an index, a retriever, a semantic splitter."""

    _embedder: Embedder = PrivateAttr()

    def __init__(self, embedder: Embedder, *, batch_size: int = 256) -> None:
        super().__init__(model_name=embedder.name, embed_batch_size=batch_size)
        self._embedder = embedder

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which llama-index stores the class."""
        return "MatlitEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return [float(value) for value in self._embedder.embed_query(query)]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [[float(value) for value in row] for row in self._embedder.embed_documents(texts)]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def to_node(chunk: Chunk) -> TextNode:
    """Return the chunk as a llama-index node: same id, text and span, its paper as the source.

    What llama-index would embed of the node is what matlit embeds of the chunk.
    """
    metadata = {
        "context": chunk.context,
        "paper": chunk.source,
        "page": chunk.page,
        "section": chunk.section,
        "kind": chunk.kind,
    }
    return TextNode(
        id_=chunk.id,
        text=chunk.text,
        metadata=metadata,
        excluded_embed_metadata_keys=[key for key in metadata if key != "context"],
        metadata_template="{value}",
        text_template="{metadata_str}\n{content}",
        start_char_idx=chunk.start,
        end_char_idx=chunk.end,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=chunk.source)},
    )
