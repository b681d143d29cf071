"""Stages around a retriever."""
