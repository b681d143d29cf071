"""A synthetic language of facts, in which retrieval, regeneration and answers can be measured exactly.

A document is a list of facts, "<name> <relation> <value> .", drawn from closed vocabularies; a question asks for the
value of one. Every pair of a name and a relation occurs once in a corpus, so that a question has one document and one
answer.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from reasonembed_rag.files import replacing

NAMES, RELATIONS, VALUES = 256, 64, 64
BOS, PAD, EOS, STOP, ASK, REPEAT = "<bos>", "<pad>", "<eos>", ".", "?", "again"
_LETTERS = ("bdfgklmnprstvz", "aeiou")


def _words(count: int, syllables: int, last: str) -> list[str]:
    parts = ["".join(pair) for pair in itertools.product(*_LETTERS)]
    words = ["".join(one) + last for one in itertools.product(parts, repeat=syllables)]
    return [words[place] for place in np.random.default_rng(len(words)).permutation(len(words))[:count]]


NAME, RELATION, VALUE = _words(NAMES, 2, "n"), _words(RELATIONS, 2, "s"), _words(VALUES, 2, "")
VOCABULARY = [PAD, BOS, EOS, STOP, ASK, REPEAT, *NAME, *RELATION, *VALUE]
_FIRST = np.cumsum([6, NAMES, RELATIONS])
"""The first token of names, of relations and of values."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Documents as facts: (documents, facts, 3) of names, relations and values, as numbers in their vocabulary."""

    array: np.ndarray

    def __len__(self) -> int:
        return len(self.array)

    def text(self, number: int) -> str:
        """Return a document's text."""
        return " ".join(f"{NAME[name]} {RELATION[one]} {VALUE[value]} ." for name, one, value in self.array[number])

    def question(self, number: int, fact: int) -> str:
        """Return the question for a fact of a document."""
        name, relation, _ = self.array[number, fact]
        return f"? {NAME[name]} {RELATION[relation]}"

    def answer(self, number: int, fact: int) -> str:
        """Return the answer to that question."""
        return VALUE[self.array[number, fact, 2]]


def corpus(documents: int, facts: int, *, seed: int) -> Facts:
    """Draw documents in which every pair of a name and a relation occurs once, and a name once per document."""
    generator = np.random.default_rng(seed)
    wanted = documents * facts
    if wanted > NAMES * RELATIONS:
        raise SystemExit(f"{documents} documents of {facts} facts; want at most {NAMES * RELATIONS} facts")
    # Whole permutations of the names one after the other: neighbours have different names, and rotation pairs each
    # name with another relation every time.
    rounds = -(-wanted // NAMES)
    relations = np.argsort(generator.random((NAMES, RELATIONS)), axis=1)
    names = np.concatenate([np.sort(np.arange(NAMES)).reshape(-1, 1) for _ in range(rounds)])[:, 0]
    pairs = np.stack([names, np.concatenate([relations[:, turn] for turn in range(rounds)])], axis=1)
    order = np.concatenate([turn * NAMES + generator.permutation(NAMES) for turn in range(rounds)])[:wanted]
    values = generator.integers(VALUES, size=wanted)
    return Facts(np.concatenate([pairs[order], values[:, None]], axis=1).reshape(documents, facts, 3))


def random_facts(documents: int, facts: int, generator: np.random.Generator) -> np.ndarray:
    """Draw facts for training, (documents, facts, 3), with other pairs each time."""
    names = np.argsort(generator.random((documents, NAMES)), axis=1)[:, :facts]
    others = generator.integers([RELATIONS, VALUES], size=(documents, facts, 2))
    return np.concatenate([names[:, :, None], others], axis=2)


def document_ids(array: np.ndarray) -> np.ndarray:
    """Return the tokens of documents, (..., facts, 3) to (..., 4 facts)."""
    with_stop = np.concatenate([array + _FIRST, np.full((*array.shape[:-1], 1), 3)], axis=-1)
    return with_stop.reshape(*array.shape[:-2], -1)


def question_ids(array: np.ndarray) -> np.ndarray:
    """Return the tokens of questions with their answers, (..., 3) to (..., 4): "? name relation value"."""
    return np.concatenate([np.full((*array.shape[:-1], 1), 4), array + _FIRST], axis=-1)


def tokenizer():  # noqa: ANN201 - transformers' type, imported late
    """Return the language's tokenizer: a word is a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(VOCABULARY)}, unk_token=PAD))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 1)])
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token=PAD, bos_token=BOS, eos_token=EOS)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSettings:
    """The decoder that is trained on the language, and its training."""

    layers: int = 4
    hidden: int = 128
    """Width of the states; a head has 32 of them, and two heads share keys and values."""
    circuit: bool = True
    facts: int = 8
    steps: int = 120
    tokens: int = 2048
    lr: float = 5e-4
    seed: int = 0


def build_decoder(settings: DecoderSettings):  # noqa: ANN201
    """Return a decoder of Qwen3's shape that starts with a circuit for looking up what followed two tokens before."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(settings.seed)
    config = Qwen3Config(
        vocab_size=len(VOCABULARY),
        hidden_size=settings.hidden,
        intermediate_size=5 * settings.hidden // 2,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.hidden // _WIDTH,
        num_key_value_heads=settings.hidden // _WIDTH // 2,
        head_dim=_WIDTH,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": _THETA},
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = Qwen3ForCausalLM(config)
    if settings.circuit:
        _add_circuit(model)
    return model


_WIDTH, _THETA = 32, 1e6


@torch.no_grad()
def _add_circuit(model) -> None:  # noqa: ANN001
    """Set a decoder's first and last attention to an induction circuit (Olsson et al. 2022), in place.

    From random weights such a circuit forms after millions of tokens; from this start, training only has to sharpen it.
    Heads of the first layer copy the tokens one and two places before into subspaces B and C of the states. The last
    layer attends from (B: the token before, A: the token itself) to where the same stand in (C, B), and writes the
    token there.
    """
    hidden = model.config.hidden_size
    basis, _ = torch.linalg.qr(torch.randn(hidden, hidden))
    common, a, b, c, d = basis[:, 0], basis[:, 1:33], basis[:, 33:65], basis[:, 65:97], basis[:, 97:128]
    own = torch.cat([a, d], dim=1)
    codes = torch.nn.functional.normalize(torch.randn(len(VOCABULARY), own.shape[1]), dim=1) @ own.T
    model.model.embed_tokens.weight.copy_(common + codes)
    first, last = model.model.layers[0].self_attn, model.model.layers[-1].self_attn
    fast = torch.zeros(_WIDTH)
    fast[[0, 1, 2]] = 1.0
    first.k_proj.weight[:_WIDTH] = torch.outer(fast, common)
    for head, distance in enumerate((1, 2)):
        first.q_proj.weight[head * _WIDTH : (head + 1) * _WIDTH] = torch.outer(_turned(fast, -distance), common)
    first.v_proj.weight[:_WIDTH] = a.T
    first.o_proj.weight[:, : 2 * _WIDTH] = 0.2 * torch.cat([b, c], dim=1)
    for norm in (first.q_norm, first.k_norm):
        norm.weight.fill_(3.0)
    slow = torch.cat([torch.arange(7, 16), torch.arange(23, 32)])
    for pair, value in enumerate((a, d)):
        key, query = torch.zeros(_WIDTH, hidden), torch.zeros(_WIDTH, hidden)
        mixed = torch.linalg.qr(torch.randn(32, 32))[0]
        before, itself = mixed[:9], mixed[9:18]
        key[slow] = torch.cat([before @ c.T, itself @ b.T])
        query[slow] = torch.cat([before @ b.T, itself @ a.T])
        last.k_proj.weight[pair * _WIDTH : (pair + 1) * _WIDTH] = key
        last.q_proj.weight[2 * pair * _WIDTH : 2 * (pair + 1) * _WIDTH] = torch.cat([query, query])
        last.v_proj.weight[pair * _WIDTH : (pair + 1) * _WIDTH] = 0.0
        last.v_proj.weight[pair * _WIDTH : pair * _WIDTH + value.shape[1]] = value.T
        written = torch.zeros(hidden, _WIDTH)
        written[:, : value.shape[1]] = 0.2 * value
        last.o_proj.weight[:, 2 * pair * _WIDTH : 2 * (pair + 1) * _WIDTH] = torch.cat([written, written], dim=1)
    for norm in (last.q_norm, last.k_norm):
        norm.weight.fill_(2.0)
    model.model.norm.weight.fill_(2.0)


def _turned(vector: torch.Tensor, distance: int) -> torch.Tensor:
    """Return a head's vector rotated as at that position."""
    half = _WIDTH // 2
    angle = distance * _THETA ** -(torch.arange(half) / half)
    one, other = vector[:half], vector[half:]
    return torch.cat([one * angle.cos() - other * angle.sin(), other * angle.cos() + one * angle.sin()])


def training_batch(settings: DecoderSettings, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens (batch, T) and the weights of their losses: one to three documents, then questions or one again."""
    generator = np.random.default_rng([settings.seed, step])
    facts, count = int(generator.integers(2, settings.facts + 1)), int(generator.integers(1, 4))
    size = settings.tokens // (8 * count * facts + 1)
    docs = random_facts(size * count, facts, generator).reshape(size, count * facts, 3)
    head = np.full((size, 1), 1)
    if step % 4 == 3:  # one of the documents again, in the order of its facts
        shown = docs[:, :facts]
        y = np.concatenate([np.full((size, 1), 5), document_ids(shown)], axis=1)
        docs, counted = shown, np.r_[0, np.ones(y.shape[1] - 1)]
    else:
        asked = np.argsort(generator.random((size, docs.shape[1])), axis=1)
        y = question_ids(np.take_along_axis(docs, asked[:, :, None], axis=1)).reshape(size, -1)
        counted = np.tile([0.0, 0.0, 0.0, 1.0], asked.shape[1])
    x = np.concatenate([head, document_ids(docs)], axis=1)
    weights = np.concatenate([np.full(x.shape[1], 0.05), counted])
    return torch.from_numpy(np.concatenate([x, y], axis=1)), torch.from_numpy(weights).float()


def train_decoder(settings: DecoderSettings, folder: Path) -> None:
    """Train the decoder and write its folder, unless it is there; a run that was stopped goes on."""
    if (folder / "tokenizer.json").is_file():
        return
    model, first = build_decoder(settings), 0
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, betas=(0.9, 0.98))
    stopped = folder.with_name(f"{folder.name}-in-training.pt")
    if stopped.is_file():
        saved = torch.load(stopped, weights_only=True)
        if saved["settings"] != repr(settings):
            raise SystemExit(f"{stopped} has a decoder of other settings; delete it or choose another --out")
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    for step in range(first, settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * min(1.0, (step + 1) / 20, 2 * (1 - step / settings.steps))
        ids, weights = training_batch(settings, step)
        logits = model(ids).logits[:, :-1]
        losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        (losses.view(len(ids), -1) * weights[1:]).sum().div(len(ids) * weights.sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 25 == 24:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            with replacing(stopped) as file:
                torch.save({"step": step + 1, "settings": repr(settings), **state}, file)
        if step % 10 in {8, 9}:
            right = (logits.argmax(-1) == ids[:, 1:])[:, weights[1:] == 1].float().mean()
            kind = "again" if step % 4 == 3 else "answers"
            print(f"decoder: step {step + 1} of {settings.steps}, {kind} right {right:.3f}", flush=True)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    stopped.unlink(missing_ok=True)
