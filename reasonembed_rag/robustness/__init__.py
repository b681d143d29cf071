"""How a retriever fares under typos, rewordings and poison, and what specialising it costs."""
