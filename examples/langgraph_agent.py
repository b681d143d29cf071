"""An agent that searches when it has to, with LangGraph: python examples/langgraph_agent.py guide.index "...".

The agent's model needs tool calls, and is that of any OpenAI-compatible server: OPENAI_BASE_URL, OPENAI_API_KEY and
OPENAI_MODEL name it.
"""

from __future__ import annotations

import os
import sys

try:
    from langchain_core.messages import AIMessage, ToolMessage
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.prebuilt import ToolNode, tools_condition
    from openai import OpenAIError

    from langchain_reasonembed import ReasonEmbedRetriever
    from reasonembed_rag.errors import ReasonEmbedError
    from reasonembed_stores import citation, open_store
except ImportError as error:
    sys.exit(__doc__ if "--help" in sys.argv else f"{error}; pip install '.[all]' langgraph langchain-openai")

STEPS = 10
"""Turns of the model and of its tools together; LangGraph stops an agent that does not end."""


def build_agent(index: str) -> CompiledStateGraph:
    """Return a graph of two nodes: the model, and the search that it may ask for."""
    retriever = ReasonEmbedRetriever(index=index, k=3, hybrid=0.25)

    @tool
    def search_documentation(query: str) -> str:
        """Search the documentation; ask in a whole sentence. Returns passages, each below its place."""
        return "\n\n".join(f"{citation(found)}\n{found.page_content}" for found in retriever.invoke(query))

    tools = [search_documentation]
    model = ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-4o-mini"), temperature=0).bind_tools(tools)

    def ask(state: MessagesState) -> dict[str, list[AIMessage]]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", ask)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()


def main(index: str, question: str) -> None:
    """Ask the agent, and show what it searched for and what it found before it answered."""
    open_store(index).close()  # an error now: the agent would only tell its model
    done = build_agent(index).invoke({"messages": [("user", question)]}, {"recursion_limit": STEPS})
    for message in done["messages"]:
        if isinstance(message, AIMessage):
            for call in message.tool_calls:
                print(f"searches: {call['args']['query']}")
        if isinstance(message, ToolMessage):
            print(f"finds: {message.text.splitlines()[0]}")
    print(done["messages"][-1].text)


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__)
        sys.exit()
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (ReasonEmbedError, OpenAIError) as error:
        sys.exit(f"error: {error}")
