"""Stages that find documents for queries, behind one protocol."""
