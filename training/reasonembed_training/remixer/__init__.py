"""ReMixer: training rows from any corpus with any chat model.

Source of the recipe: ReasonEmbed, arXiv 2510.08252. The document that a query was written from is thrown away; its
positives are found among other documents, by a model that reasons about each of them.
"""
