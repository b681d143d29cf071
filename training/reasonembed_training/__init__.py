"""Train embedding models for reasoning-intensive retrieval: InfoNCE and Redapter, exact at any batch size.

Source of Redapter: ReasonEmbed, arXiv 2510.08252.
"""
