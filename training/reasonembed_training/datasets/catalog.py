"""The sets that can be made: where each comes from, under which licence, and the checksums of what is written."""

from __future__ import annotations

from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_training.datasets.attack import attack
from reasonembed_training.datasets.dataset import DataSet
from reasonembed_training.datasets.dictionaries import devil, jargon
from reasonembed_training.datasets.ecare import ecare
from reasonembed_training.datasets.entailmentbank import entailmentbank
from reasonembed_training.datasets.packaged import python_reference
from reasonembed_training.datasets.sources import DebianPackage, github_archive, github_file
from reasonembed_training.datasets.strategyqa import strategyqa
from reasonembed_training.datasets.theoremqa_questions import theoremqa_questions
from reasonembed_training.datasets.theorems import theorems
from reasonembed_training.datasets.tldr import tldr
from reasonembed_training.datasets.wordnet import wordnet

__all__ = ["data_set", "data_sets"]


_ENTAILMENT, _ENTAILMENT_COMMIT = "allenai/entailment_bank", "daac2fdb7ab52ec3ef8f2953f59288c1edd7c2f0"
_TREES = "data/public_dataset/entailment_trees_emnlp2021_data_v2"
_ECARE, _ECARE_COMMIT = "Waste-Wood/e-CARE", "c3b52648adcc919303a297a377811e24d703e197"
_STRATEGY, _STRATEGY_COMMIT = "eladsegal/strategyqa", "1ba1e97452e189569357876f2854b01357ffbe37"
_DEBIAN = "https://deb.debian.org/debian/pool/main"
_WORDNET = DebianPackage(
    f"{_DEBIAN}/w/wordnet/wordnet-base_3.0-37_all.deb",
    "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
    tuple(f"./usr/share/wordnet/data.{part}" for part in ("noun", "verb", "adj", "adv")),
)
_ATTACK_OBJECTS = ("attack-pattern", "relationship", "malware", "tool", "intrusion-set", "campaign")

_SETS = (
    DataSet(
        name="entailmentbank",
        seeks="the facts behind the answer to a science exam question",
        licence="Apache-2.0",
        origin=f"{_ENTAILMENT} at {_ENTAILMENT_COMMIT[:7]}",
        make=entailmentbank,
        sources=(
            github_file(
                _ENTAILMENT,
                _ENTAILMENT_COMMIT,
                f"{_TREES}/supporting_data/worldtree_corpus_sentences_extended.json",
                sha256="7afb6b0464e02b83a29615b06cb8a28002625dbbf707f6c0a86bfd450f5aefcb",
            ),
            github_file(
                _ENTAILMENT,
                _ENTAILMENT_COMMIT,
                f"{_TREES}/dataset/task_1/dev.jsonl",
                sha256="a9779787851fcdf2cdd5841520deda73474ebc4915e562225744807b5d8d1f5d",
            ),
            github_file(
                _ENTAILMENT,
                _ENTAILMENT_COMMIT,
                "data/processed_data/angles/task_1/train.jsonl",
                sha256="620f31c45f6c906012f27f926b1e9a1ed31573a463b0ed7ff842d84f1e42b713",
            ),
        ),
        checksums={
            "documents": "4ba6fa759797599fe4e8eb45b2581dc9ab550e18feee85212f13baddc65014a9",
            "examples.train": "fedbeb4c01f271a3ba156f1a069533e9806d55f110de2fc65452b17062a26d01",
            "examples.dev": "cc830373e2b146c24ea3d099f453e8f4f081c96a1a95bf3bf8be38f580af9fe9",
        },
    ),
    DataSet(
        name="ecare",
        seeks="the cause or the effect of an event",
        licence="MIT",
        origin=f"{_ECARE} at {_ECARE_COMMIT[:7]}",
        make=ecare,
        sources=(
            github_file(
                _ECARE,
                _ECARE_COMMIT,
                "dataset/Causal_Reasoning/train.jsonl",
                sha256="540f828fe640f0bbef0e16c47a933b65625f49f20aef8a45884a836eb9c034c3",
            ),
            github_file(
                _ECARE,
                _ECARE_COMMIT,
                "dataset/Causal_Reasoning/dev.jsonl",
                sha256="cc95861592d28f49e25d540b9993fb01732306220e16a66b27f85b051c6dd433",
            ),
            github_file(
                _ECARE,
                _ECARE_COMMIT,
                "dataset/dev_full.jsonl",
                sha256="e8e3f8451d727184577486f65fbeb759b12535f78e05d51b29dd443453c2c995",
            ),
        ),
        checksums={
            "documents": "15e2078f8e22aae490e3d494c4435614db6b5e01260c3d10de44a9cfcdaf0124",
            "examples.train": "567e0c2f62f296a1b11ed0514d0401ddefe4f3f091a00354ce534b86e33b7f37",
            "examples.dev": "2ad71e34c2cabe8ac5c3027737df6a95d06e6bbd7bb6f92412dd5315d2fb3187",
        },
    ),
    DataSet(
        name="strategyqa",
        seeks="the facts that a question needs whose steps it does not name",
        licence="MIT",
        origin=f"{_STRATEGY} at {_STRATEGY_COMMIT[:7]}",
        make=strategyqa,
        sources=(
            github_file(
                _STRATEGY,
                _STRATEGY_COMMIT,
                "data/strategyqa/train.json",
                sha256="0f72560b8a6fad3db847d2f1a7524fb087297843bb45a8d3245ffd68cbe0de12",
            ),
            github_file(
                _STRATEGY,
                _STRATEGY_COMMIT,
                "data/strategyqa/dev.json",
                sha256="0d94842ffb022db8fd5ecd2168b785d5cf67f6faf64f665476bad544a3eb9dde",
            ),
        ),
        checksums={
            "documents": "1d1b886ba22aeadaf76ed346205cebf384ea18a27eb43b0abda6011c0c392396",
            "examples.train": "c2a65b5d7380cd74e3bfd4411a000818610d1c3409702f17e67ba858ca9eaa19",
            "examples.dev": "fcc456fb4a1858d786a7cc9ed56a7beb17f819b3983118d6da4cfea3c1d6703d",
        },
    ),
    DataSet(
        name="attack",
        seeks="the ATT&CK technique behind an observed behaviour",
        licence="ATT&CK terms of use: (c) 2025 The MITRE Corporation. This work is reproduced and distributed with the "
        "permission of The MITRE Corporation.",
        origin="mitre/cti at 421deac",
        make=attack,
        sources=(
            github_archive(
                "mitre/cti",
                "421deacb77191b38bdd1bf63268954e93da91365",
                folders=tuple(
                    f"{domain}-attack/{kind}/" for domain in ("enterprise", "mobile", "ics") for kind in _ATTACK_OBJECTS
                ),
                suffix=".json",
                sha256="5d7a0875c519aae0b8cee66018736d2d3e6b604fe02a6335f9cd31a9aa3db9a5",
            ),
        ),
        checksums={
            "documents": "cdfd34d9ab8ccd8733c6a20b1593f82780ca11a79d1dba99972399f446547b3a",
            "examples.train": "5855344129c6e40be2f321dcf8eeecd1925ed3ae0d69477327c31eefe449dbaf",
            "examples.dev": "6208a3eb0898bd8ca469ed8f653ffe447490178ed7a9dbfa103b3029419517e4",
        },
    ),
    DataSet(
        name="tldr",
        seeks="the command-line tool for an intention",
        licence="CC-BY-4.0, the tldr-pages team and contributors",
        origin="tldr-pages/tldr at 08e345f",
        make=tldr,
        sources=(
            github_archive(
                "tldr-pages/tldr",
                "08e345f42639f67d99282813247ac670dc6e87cb",
                folders=("pages/",),
                suffix=".md",
                sha256="4a162c3a98b320d246de7af4ea3a74cc7c0e5c23b45677fb2aa28fa4823ec92a",
            ),
        ),
        checksums={
            "documents": "2b9da3695ca8171765613b0488146e58675a68800dfe51d85a06048c9a87e56d",
            "examples.train": "25f9fdce7e5b54cf93db886102c29235c9c427cc11be17a7e9bc5bad21ebad82",
            "examples.dev": "186549f22444a14eb90779a788f6375015e73ee1ebecb985e8b522a66b622bab",
        },
    ),
    DataSet(
        name="bright_theoremqa_questions",
        seeks="solved problems that use the same theorem: a task of BRIGHT over a small corpus",
        licence="MIT (problems), CC-BY-4.0 (BRIGHT's queries)",
        origin="Debrup-61/RaDeR at 3a127e4, ZubinGou/math-evaluation-harness at db77bc6, BRIGHT",
        make=theoremqa_questions,
        sources=(
            github_file(
                "Debrup-61/RaDeR",
                "3a127e47a419bcda878cddef9c86f7dfbaca81f3",
                "data/BRIGHT/similarqs.json",
                sha256="893d73e663321de425ce402e2eb89283eac8539b9242a7e29454543794bcb305",
            ),
            github_file(
                "ZubinGou/math-evaluation-harness",
                "db77bc6bb2a17c90ed2d63e88ebd8c40a82858c5",
                "data/math/test.jsonl",
                sha256="3371949f33dd702d04b43fddd7d53a028de0aaca0e76abb1b875a050297b3aa4",
            ),
            github_file(
                "castorini/anserini-tools",
                "78426a56befa2983545468af087e1487d2ba6469",
                "topics-and-qrels/topics.bright-theoremqa-questions-original.jsonl.gz",
                sha256="99ecbc3f3e171f021a573e75c502306069e13f2b35f483baf712343c2990ec1e",
            ),
        ),
        checksums={
            "documents": "f822c2f8d75069baf6214bacef111a02281da0b5d6dc37175f18503a1e1a9884",
            "examples": "de0256d61fe09473a4b4b3012261ab9f254eb0e14249e0989dc0f3ccef1768ba",
        },
        measuring_only=True,
    ),
    DataSet(
        name="theorems",
        seeks="the theorems that the proof of a theorem uses",
        licence="CC0-1.0",
        origin="Metamath's set.mm, Debian's metamath-databases 0.0.0~20210101.git55fe226-2",
        make=theorems,
        sources=(
            DebianPackage(
                f"{_DEBIAN}/m/metamath-databases/metamath-databases_0.0.0~20210101.git55fe226-2_all.deb",
                "c72523c221db6c1039fa909150f9c53fb9175809792f2e80e55e1baa965445a1",
                ("./usr/share/metamath/databases/set.mm",),
            ),
        ),
        checksums={
            "documents": "16c436b50832b52ad16496e0086e76df0420dcbc003e4a1c4d2154ef9962b8b8",
            "examples.train": "c9f259a68eb0edccf798b577bc3a50618a3ebb0b8f3aeed210054ade4fbd2185",
            "examples.dev": "d0417038a3c84daf8beca5b2a76a7f39a90386b5cf52ff263e6161625d5c32f2",
        },
    ),
    DataSet(
        name="wordnet",
        seeks="sentences that use a word in the meaning that the query defines",
        licence="WordNet-3.0",
        origin="WordNet 3.0, Debian's wordnet-base 3.0-37",
        make=wordnet,
        sources=(_WORDNET,),
        checksums={
            "documents": "d8e8976cd25d52761898431ffaed8c86f6b9a321b6b7b8435bb6665b361d1533",
            "examples.train": "33b032c21b2da6d896ebab2b84caae58a794d29586e1c500ed29b8ce32f28399",
            "examples.dev": "5530deb42e78417b1a0175252caffc46aad8730606cde496d1ff93ce73b51316",
        },
    ),
    DataSet(
        name="jargon",
        seeks="the entries that an entry of the Jargon File refers to",
        licence="public domain",
        origin="the Jargon File 4.4.7, Debian's dict-jargon 4.4.7-3.1",
        make=jargon,
        sources=(
            DebianPackage(
                f"{_DEBIAN}/d/dict-jargon/dict-jargon_4.4.7-3.1_all.deb",
                "405f8168d7994ed2cb71407bb95493daec2e9aa66fc0461dafa74a9d6728a8c1",
                ("./usr/share/dictd/jargon.dict.dz",),
            ),
        ),
        checksums={
            "documents": "d1080fea9eb150fa98a5b597f933a0e9dc659518c5f55605a939b47c966f7aac",
            "examples": "a4437023a1783f66a6565297bde3ed97390eafc68bf47635f25159707fe15dd8",
        },
        measuring_only=True,
    ),
    DataSet(
        name="devil",
        seeks="WordNet's entries for the word that Ambrose Bierce defines",
        licence="public domain (queries), WordNet-3.0 (documents)",
        origin="the Devil's Dictionary, Debian's dict-devil 1.0-13.1 and wordnet-base 3.0-37",
        make=devil,
        sources=(
            DebianPackage(
                f"{_DEBIAN}/d/dict-devil/dict-devil_1.0-13.1_all.deb",
                "6a535684def2a1f70cd42da16d12d43f0e9dc3e54e4a329178eebab3170e3154",
                ("./usr/share/dictd/devil.dict.dz",),
            ),
            _WORDNET,
        ),
        checksums={
            "documents": "0900ee38151a80850303d1825b699827fdc928d2f8a85895e0709bd8c77e3709",
            "examples": "fdd953a81d41153eeff96c9f0a639cc7946905338001ddade5332bae5e35cb90",
        },
        measuring_only=True,
    ),
    DataSet(
        name="python_reference",
        seeks="the passage of the Python language reference that explains an observation",
        licence="PSF-2.0 (passages), Apache-2.0 (questions)",
        origin="this package, and the running Python's own language reference",
        make=python_reference,
        measuring_only=True,
    ),
)


def data_sets() -> tuple[DataSet, ...]:
    """Return every set."""
    return _SETS


def data_set(name: str) -> DataSet:
    """Return a set by name; raises InputError for an unknown one, naming the nearest."""
    known = {one.name: one for one in _SETS}
    if name not in known:
        raise InputError(f"data set {name!r} is unknown; {want_one_of(name, known)}")
    return known[name]
