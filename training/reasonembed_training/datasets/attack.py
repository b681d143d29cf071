"""MITRE ATT&CK: the technique behind an observed behaviour."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from reasonembed_training.datasets.rows import SetRows, document_rows, example_row
from reasonembed_training.datasets.splits import split_groups

__all__ = ["attack"]

_ACTORS = frozenset({"malware", "tool", "intrusion-set", "campaign"})
_CITATION = re.compile(r"\(Citation:[^)]*\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_CODE = re.compile(r"</?code>")
_SPACE = re.compile(r"\s+")


def attack(files: Mapping[str, str]) -> dict[str, SetRows]:
    """Return documents, techniques by domain, and examples: what an actor did, with its names replaced.

    Splits are by actor: what one did is in one split, and what actors of two splits did is in none.
    """
    objects = [
        (path.partition("-")[0], one) for path, text in files.items() for one in json.loads(text).get("objects", [])
    ]
    actors = {one["id"]: one for _, one in objects if one["type"] in _ACTORS}
    techniques = {
        one["id"]: (f"{domain}/{_external_id(one)}", f"{one['name']}. {_clean(one.get('description', ''))}")
        for domain, one in objects
        if one["type"] == "attack-pattern" and _is_live(one)
    }
    behaviours = _behaviours((one for _, one in objects), techniques)
    known = sorted({actor for _, who in behaviours.values() for actor in who})
    split_of = split_groups(known, seed=7, shares=(0.12, 0.22))
    examples: dict[str, list[dict[str, object]]] = {"examples.train": [], "examples.dev": []}
    for number, (text, (gold, who)) in enumerate(sorted(behaviours.items())):
        splits = {split_of[actor] for actor in who}
        split = splits.pop() if len(splits) == 1 else None
        if split is not None:
            query = _masked(text, (actors.get(actor, {}) for actor in sorted(who)))
            examples[f"examples.{split}"].append(example_row(f"p{number:05d}", query, sorted(gold)))
    return {"documents": document_rows(dict(techniques.values())), **examples}


def _behaviours(
    objects: Iterable[Mapping[str, Any]], techniques: Mapping[str, tuple[str, str]]
) -> dict[str, tuple[set[str], set[str]]]:
    """Return what was done, with the techniques that it used and the actors who did it."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for one in objects:
        uses = one["type"] == "relationship" and one["relationship_type"] == "uses" and one["target_ref"] in techniques
        if uses and one.get("description") and _is_live(one):
            gold, who = found.setdefault(_clean(one["description"]), (set(), set()))
            gold.add(techniques[one["target_ref"]][0])
            who.add(one["source_ref"])
    return found


def _masked(text: str, actors: Iterable[Mapping[str, Any]]) -> str:
    for actor in actors:
        for name in _names(actor):
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "The actor", text)
    return text


def _names(actor: Mapping[str, Any]) -> list[str]:
    """Return an actor's names, long ones first, since a short one may be part of a long one."""
    names: list[str] = [actor.get("name", ""), *actor.get("aliases", []), *actor.get("x_mitre_aliases", [])]
    return [name for name in sorted(names, key=len, reverse=True) if name]


def _external_id(technique: Mapping[str, Any]) -> str:
    return next(
        str(one["external_id"])
        for one in technique["external_references"]
        if one.get("source_name", "").startswith("mitre")
    )


def _clean(text: str) -> str:
    return _SPACE.sub(" ", _LINK.sub(r"\1", _CITATION.sub("", _CODE.sub("", text)))).strip()


def _is_live(one: Mapping[str, Any]) -> bool:
    return not one.get("revoked") and not one.get("x_mitre_deprecated")
