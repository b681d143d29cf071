"""Asking a chat model."""
