"""The latent model: a decoder that generates, embeds and compresses through k latent tokens.

A GRC-style reconstruction: the idea is that of arXiv 2605.09100, whose code and details are not public; what it leaves
open (number and place of latents, mask, pooling, losses) is decided here (docs/adr/0010).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reasonembed_rag.backbone import KeyValue, Layout, UnsupportedError, finish_layer, make_live, read_blueprint
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.memory.gate import Gate, GatedLinear, LowRank
from reasonembed_rag.memory.masks import Sight, attend_latents, attend_seen, rotated
from reasonembed_rag.memory.settings import LatentSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import Layer, Linear

    Ids = NDArray[np.integer[Any]]
    Past = list[KeyValue]

__all__ = ["REPEAT", "LatentModel", "LatentReading"]

REPEAT = -1
"""In a continuation's ids: the trained "repeat" row, behind which a text is regenerated from its memory."""
_PROBE_TOLERANCE, _NARROW_TOLERANCE = 1e-3, 0.1
"""Largest relative difference of plain states from transformers', in float32 and in narrower formats."""


@dataclass(frozen=True, slots=True, eq=False)
class LatentReading:
    """What one forward over B texts and their latents gives; every tensor carries gradients where they are enabled."""

    latents_BkD: Tensor
    """Final states at the latent positions, after the last norm."""
    memories_BN2KkD: Tensor
    """Keys before rotation, and values, at the latent positions: (B, layers, 2, kv heads, k, head width)."""
    texts_TD: Tensor | None = None
    """Final states of the texts' own tokens, concatenated; None where they were not asked for."""
    continuations_TD: Tensor | None = None
    """Final states of the continuations' tokens, concatenated; None without continuations."""

    @property
    def pooled_BD(self) -> Tensor:
        """The embeddings before normalisation: the mean of the latent states, float32 (B, D)."""
        return self.latents_BkD.float().mean(dim=1)


class LatentModel(nn.Module):
    """A decoder with k latent rows, a repeat row and LoRA that acts only at latent positions.

    Without latents in a pass it is the backbone, bit for bit. Trainable are `latents_kD`, `repeat_1D` and `changes`;
    the backbone is as the caller has it (load_model freezes it). The gate is a state of the running pass: one thread at
    a time, no gradient checkpointing.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head_VD: Tensor,
        settings: LatentSettings,
        *,
        seed: int = 0,
        make: Callable[[Sequence[nn.Module]], Linear] = make_live,
    ) -> None:
        """Wrap a transformers decoder without its head; head_VD is the output matrix, which may be the input's.

        Latents start as rows of the embedding's mean and spread, B matrices as zeros: at first all positions are the
        backbone's own. make builds the linears: make_live for training, make_fast for inference. Raises InputError for
        targets that the backbone does not have, ModelError for a backbone that the packed forward does not run.
        """
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        self._head = (head_VD,)  # in a tuple: no parameter of its own
        self._softcap = getattr(backbone.config, "final_logit_softcapping", None)
        self._gate = Gate()
        self._add_rows(seed)
        self._add_changes(seed)
        self._read(make)
        self._rotary: dict[str, tuple[Tensor, Tensor]] = {}

    @property
    def device(self) -> torch.device:
        """Where the backbone is."""
        return self._blueprint.device

    @property
    def positions(self) -> int | None:
        """The backbone's positions; None where it names none."""
        found: int | None = getattr(self.backbone.config, "max_position_embeddings", None)
        return found

    @property
    def number_format(self) -> str:
        """In what memories are, such as float32."""
        return str(self._blueprint.dtype).removeprefix("torch.")

    @property
    def memory_shape(self) -> tuple[int, int, int, int, int]:
        """The shape of one text's memory: (layers, 2, kv heads, k, head width)."""
        heads = self._blueprint.layers[0].heads
        return len(self._blueprint.layers), 2, heads.keys, self.settings.latents, heads.width

    @property
    def memory_bytes(self) -> int:
        """2 * layers * kv heads * head width * k * bytes per number of the backbone's format."""
        return int(np.prod(self.memory_shape)) * self._blueprint.dtype.itemsize

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the rows and LoRA matrices by name, as the folder format stores them."""
        named = dict(self.named_parameters())
        return {name: one for name, one in named.items() if not name.startswith("backbone.")}

    def forward(
        self,
        texts: Sequence[Ids],
        continuations: Sequence[Ids] | None = None,
        *,
        memories_BN2KPd: Tensor | None = None,
        text_states: bool = False,
    ) -> LatentReading:
        """Read texts x, each followed by the latents m and, where given, a continuation y, in one pass.

        x sees x, m sees x and m, y sees m and y but never x. With memories (B, layers, 2, kv heads, P, d) every text
        stands behind its row's, side by side, which x and m see: reading [m_old, x] gives a memory of the same size.
        Positions: memories 0..P-1, x P..P+n-1, m behind x, y behind m. Raises InputError for an empty text.
        """
        k = self.settings.latents
        ends = [np.empty(0, np.int64)] * len(texts) if continuations is None else continuations
        self._check(texts, ends)
        before = 0 if memories_BN2KPd is None else memories_BN2KPd.shape[4]
        lengths = [len(text) + k + len(end) for text, end in zip(texts, ends, strict=True)]
        layout = Layout(lengths, prefix=before, device=self.device)
        kinds_T = _kinds([len(text) for text in texts], [len(end) for end in ends], k).to(self.device)
        latent_rows, joined = torch.nonzero(kinds_T == 1)[:, 0], np.full(k, 0, np.int64)
        ids = np.concatenate([part for text, end in zip(texts, ends, strict=True) for part in (text, joined, end)])
        state_TD = self._embed(ids, layout, latent_rows)
        blind = {"hidden_T": kinds_T == 0, "blind_T": kinds_T == 2} if continuations is not None else {}
        sight = Sight(layout, **blind)
        past = None if memories_BN2KPd is None else self.placed(memories_BN2KPd)
        shorter = sight.is_plain and not text_states
        out_TD, kept = self._run(state_TD, sight, past=past, latent_rows=latent_rows, latents_only=shorter)
        memories = torch.stack([torch.stack(list(pair), dim=1) for pair in kept])  # (layers, B * k, 2, K, d)
        memories = memories.unflatten(1, (len(texts), k)).permute(1, 0, 3, 4, 2, 5)
        latents_TD = out_TD if shorter else out_TD[latent_rows]
        return LatentReading(
            latents_BkD=latents_TD.unflatten(0, (len(texts), k)),
            memories_BN2KkD=memories,
            texts_TD=out_TD[kinds_T == 0] if text_states else None,
            continuations_TD=out_TD[kinds_T == 2] if continuations is not None else None,
        )

    def plain(self, sequences: Sequence[Ids], *, past: Past | None = None) -> tuple[Tensor, Past]:
        """Return the final states (T, D) of sequences behind `past`, concatenated, and the past with them in it.

        past is what `placed` or an earlier call gave, one row per sequence; without one it is the backbone's own
        forward. All sequences of a call that is to be continued must have one length. No adapter acts.
        """
        self._check([], sequences, empty=False)
        before = 0 if past is None else past[0].key_PKd.shape[1]
        layout = Layout([len(ids) for ids in sequences], prefix=before, device=self.device)
        state_TD = self._embed(np.concatenate(sequences), layout, None)
        return self._plain(state_TD, Sight(layout), past)

    def placed(self, memories_BN2KPd: Tensor) -> Past:
        """Place memories side by side: rotate their keys to the positions 0..P-1; what follows stands at P.

        Several memories of one row are concatenated along P before, in any order.
        """
        positions = torch.arange(memories_BN2KPd.shape[4], device=memories_BN2KPd.device)
        past = []
        for number, layer in enumerate(self._blueprint.layers):
            key, value = (memories_BN2KPd[:, number, side].transpose(1, 2) for side in (0, 1))
            past.append(KeyValue(self._rotate(layer, key, positions), value))
        return past

    def logits(self, states_TD: Tensor) -> Tensor:
        """Return the next token's logits (T, V) of final states; targets are the caller's, shifted by one."""
        found = functional.linear(states_TD, self._head[0])
        return found if self._softcap is None else torch.tanh(found / self._softcap) * self._softcap

    @torch.no_grad()
    def check_backbone(self) -> None:
        """Compare plain states with transformers' own; raises ModelError where they differ."""
        size = len(self._embedding.weight)
        ids = np.random.default_rng(0).integers(size, size=11)
        own_TD = self.plain([ids])[0].float()
        expected_TD = self.backbone(input_ids=torch.from_numpy(ids)[None].to(self.device)).last_hidden_state[0].float()
        difference = float((own_TD - expected_TD).norm() / expected_TD.norm().clamp_min(1e-30))
        most = _PROBE_TOLERANCE if self._blueprint.dtype == torch.float32 else _NARROW_TOLERANCE
        if not difference < most:
            raise ModelError(
                f"{type(self.backbone).__name__}: states differ from transformers' by {difference:.1e} in relative "
                "norm; want a Llama, Mistral, Qwen or Gemma decoder with finite weights"
            )

    def _add_rows(self, seed: int) -> None:
        self._embedding = cast("nn.Embedding", cast("Any", self.backbone).get_input_embeddings())
        ids = torch.arange(len(self._embedding.weight), device=self._embedding.weight.device)
        sample_SD = self._embedding(ids[:: max(1, len(ids) // 4096)]).detach().float().cpu()
        noise = torch.randn(
            self.settings.latents + 1, sample_SD.shape[1], generator=torch.Generator().manual_seed(seed)
        )
        rows = (sample_SD.mean(dim=0) + noise * sample_SD.std(dim=0)).to(ids.device)
        self.latents_kD = nn.Parameter(rows[:-1].clone())
        self.repeat_1D = nn.Parameter(rows[-1:].clone())

    def _add_changes(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed + 1)
        self.changes = nn.ParameterDict()
        self._paths = {}
        missing, device = set(self.settings.targets), self._embedding.weight.device
        for path, module in self.backbone.named_modules():
            name = path.rpartition(".")[2]
            if not isinstance(module, nn.Linear) or name not in self.settings.targets or self.settings.rank == 0:
                continue
            missing.discard(name)
            key = path.replace(".", "/")
            shape = (self.settings.rank, module.in_features)
            bound = module.in_features**-0.5
            a = (torch.rand(shape, generator=generator) * 2 - 1) * bound
            self.changes[f"{key}/a"] = nn.Parameter(a.to(device))
            self.changes[f"{key}/b"] = nn.Parameter(torch.zeros(module.out_features, self.settings.rank, device=device))
            self._paths[id(module)] = key
        if missing and self.settings.rank:
            known = {
                path.rpartition(".")[2] for path, one in self.backbone.named_modules() if isinstance(one, nn.Linear)
            }
            raise InputError(
                f"targets names {', '.join(sorted(missing))}, which {type(self.backbone).__name__} does not have; "
                f"its linear layers are {', '.join(sorted(known))}"
            )

    def _read(self, make: Callable[[Sequence[nn.Module]], Linear]) -> None:
        def gated(modules: Sequence[nn.Module]) -> GatedLinear:
            return GatedLinear(modules, [self._change(one) for one in modules], gate=self._gate, make=make)

        try:
            self._blueprint = read_blueprint(self.backbone, causal=True, make=gated)
        except UnsupportedError as error:
            raise ModelError(f"latents need a decoder of the Llama, Mistral, Qwen or Gemma kind: {error}") from error
        if self._blueprint.rotary_table is None or any(not layer.rule.causal for layer in self._blueprint.layers):
            raise InputError(
                f"{type(self.backbone).__name__} is an encoder; want a causal decoder, whose latents behind a text do "
                "not change it"
            )

    def _change(self, module: nn.Module) -> LowRank | None:
        key = self._paths.get(id(module))
        if key is None:
            return None
        scale = self.settings.alpha / self.settings.rank
        return LowRank(self.changes[f"{key}/a"], self.changes[f"{key}/b"], scale)

    def _check(self, texts: Sequence[Ids], others: Sequence[Ids], *, empty: bool = True) -> None:
        size = len(self._embedding.weight)
        for kind, sequences, lowest in (("text", texts, 0), ("continuation", others, REPEAT)):
            for number, ids in enumerate(sequences):
                if len(ids) == 0 and not (empty and kind == "continuation"):
                    raise InputError(f"{kind} {number} has no token; want at least one")
                if len(ids) and not (lowest <= int(ids.min()) and int(ids.max()) < size):
                    raise InputError(f"{kind} {number} has ids {ids.min()} to {ids.max()}; want {lowest} to {size - 1}")

    def _embed(self, ids: Ids, layout: Layout, latent_rows: Tensor | None) -> Tensor:
        ids_T = torch.from_numpy(ids.astype(np.int64)).to(self.device)
        state_TD = self._blueprint.embed(ids_T.clamp(min=0), layout.positions_T)
        if latent_rows is not None:
            rows_TD = self.latents_kD.repeat(len(layout.lengths), 1).to(state_TD.dtype)
            state_TD = state_TD.index_copy(0, latent_rows, rows_TD)
        repeats = torch.nonzero(ids_T == REPEAT)[:, 0]
        if len(repeats):
            rows_TD = self.repeat_1D.to(state_TD.dtype).expand(len(repeats), -1)
            state_TD = state_TD.index_copy(0, repeats, rows_TD)
        return state_TD

    def _run(
        self, state_TD: Tensor, sight: Sight, *, past: Past | None, latent_rows: Tensor, latents_only: bool
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Run all layers with open gates; with latents_only the last layer and the output hold latent rows alone."""
        kept: list[tuple[Tensor, Tensor]] = []
        layers = self._blueprint.layers
        for number, layer in enumerate(layers):
            before = None if past is None else past[number]
            with self._gate.opened(latent_rows):
                x = _normed(layer.before_attention, state_TD)
                if latents_only and number == len(layers) - 1:
                    mixed, own = self._last(layer, x, sight.layout, latent_rows)
                    kept.append(own)
                    break
                query, key, value = self._split(layer, layer.qkv(x))
                kept.append((key[latent_rows], value[latent_rows]))
                query, key = (self._rotate(layer, one, sight.layout.positions_T) for one in (query, key))
                own = KeyValue(key, value)
                mixed = attend_seen(query, own, sight=sight, rule=layer.rule, past_BPKd=before)
                state_TD = finish_layer(layer, state_TD, mixed)
        if latents_only:
            with self._gate.opened(torch.arange(len(latent_rows), device=latent_rows.device)):
                state_TD = finish_layer(layers[-1], state_TD[latent_rows], mixed)
        return _normed(self._blueprint.final_norm, state_TD), kept

    def _last(self, layer: Layer, x_TD: Tensor, layout: Layout, rows: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return what the latent rows alone attend to, (R, H * d), and their keys before rotation and values."""
        heads = layer.heads
        both = layer.key_value(x_TD).unflatten(1, (2 * heads.keys, heads.width))
        key, value = both.split([heads.keys, heads.keys], dim=1)
        key = _normed(layer.key_norm, key)
        with self._gate.opened(torch.arange(len(rows), device=rows.device)):
            query = _normed(layer.query_norm, layer.query(x_TD[rows]).unflatten(1, (heads.queries, heads.width)))
        query = self._rotate(layer, query, layout.positions_T[rows])
        own = KeyValue(self._rotate(layer, key, layout.positions_T), value)
        mixed = attend_latents(query, own, layout=layout, rule=layer.rule, latents=self.settings.latents)
        return mixed, (key[rows], value[rows])

    def _plain(self, state_TD: Tensor, sight: Sight, past: Past | None) -> tuple[Tensor, Past]:
        after: Past = []
        rows = len(sight.layout.lengths)
        even = int(sight.layout.lengths.min()) == int(sight.layout.lengths.max())
        for number, layer in enumerate(self._blueprint.layers):
            query, key, value = self._split(layer, layer.qkv(_normed(layer.before_attention, state_TD)))
            query, key = (self._rotate(layer, one, sight.layout.positions_T) for one in (query, key))
            own, before = KeyValue(key, value), None if past is None else past[number]
            if even:
                new = [one.unflatten(0, (rows, -1)) for one in own]
                joined = new if before is None else [torch.cat(pair, dim=1) for pair in zip(before, new, strict=True)]
                after.append(KeyValue(*joined))
            mixed = attend_seen(query, own, sight=sight, rule=layer.rule, past_BPKd=before)
            state_TD = finish_layer(layer, state_TD, mixed)
        return _normed(self._blueprint.final_norm, state_TD), after

    def _split(self, layer: Layer, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = layer.heads
        split = qkv.unflatten(1, (heads.queries + 2 * heads.keys, heads.width))
        query, key, value = split.split([heads.queries, heads.keys, heads.keys], dim=1)
        return _normed(layer.query_norm, query), _normed(layer.key_norm, key), value

    def _rotate(self, layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
        """Rotate (..., tokens, heads, d) to the positions of its tokens."""
        name = cast("str", layer.rotary)
        needed = int(positions.max()) + 1
        if name not in self._rotary or len(self._rotary[name][0]) < needed:
            table = cast("Callable[[str, int], tuple[Tensor, Tensor]]", self._blueprint.rotary_table)
            with torch.inference_mode(mode=False):  # kept, also for passes with gradients
                cos, sin = table(name, max(512, 1 << (needed - 1).bit_length()))
                half = sin.shape[1] // 2
                signed = torch.cat([-sin[:, :half], sin[:, half:]], dim=1)
                self._rotary[name] = cos.to(self._blueprint.dtype), signed.to(self._blueprint.dtype)
        cos, sin = self._rotary[name]
        return rotated(x, cos[positions, None], sin[positions, None])


def _normed(norm: Callable[[Tensor], Tensor] | None, x: Tensor) -> Tensor:
    return x if norm is None else norm(x)


def _kinds(texts: Sequence[int], continuations: Sequence[int], k: int) -> Tensor:
    """Return of what every token of a pack is: 0 text, 1 latent, 2 continuation."""
    counts = [count for text, end in zip(texts, continuations, strict=True) for count in (text, k, end)]
    return torch.from_numpy(np.repeat(np.tile([0, 1, 2], len(texts)), counts))
