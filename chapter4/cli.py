"""The command line.

Nothing heavy is imported before the arguments are known, so that ``--help`` answers at
once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from chapter4 import __version__
from chapter4.methods import METHODS
from chapter4.reports.output import (
    begin,
    make_folder,
    plain,
    save_arrays,
    save_figure,
    write_manifest,
)

if TYPE_CHECKING:
    from torch import nn

    from chapter4.reports.image import Interpretation

# The arguments that are text. Paths are left out, because a path may hold any bytes.
WORDS = ("text", "target", "true_label", "expected_label")
EXIT_CODES = "exit code: 0 for success, 2 for wrong input, 130 if you interrupt it"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command line without the program's name; None for that of the
            process.

    Returns:
        The exit code: 0 for success, 2 for bad input, which gets one line on stderr,
        and 130 if the user interrupted it.

    Raises:
        SystemExit: As argparse does: with 0 after ``--help`` and ``--version``, with 2
            for a wrong command line.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    words = [getattr(options, name, None) for name in WORDS]
    if unreadable := [word for word in words if word and not _is_text(word)]:
        print(
            f"chapter4: error: {ascii(unreadable[0])[:60]} is not UTF-8 text: "
            "type it in a UTF-8 terminal, or convert it with iconv",
            file=sys.stderr,
        )
        return 2
    # A tick mark must not end the program where the terminal has no such character.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    # A script's figures go to files, never to a window.
    os.environ["MPLBACKEND"] = "Agg"
    try:
        with redirect_stdout(StringIO() if options.json else sys.stdout):
            facts = options.run(options)
        if options.json:
            facts["output"] = options.output
            print(json.dumps(plain(facts), indent=2, allow_nan=False))
        sys.stdout.flush()
    except BrokenPipeError:
        # As in ``chapter4 debug | head``: the reader has what it wanted. At exit Python
        # flushes stdout once more, which must not go into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, TypeError, OSError) as error:
        print(f"chapter4: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("chapter4: interrupted", file=sys.stderr)
        return 130
    return 0


def _is_text(value: str) -> bool:
    # False for text from a terminal with another encoding. Python keeps such bytes as
    # lone surrogates, which can't be written.
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class _Parser(argparse.ArgumentParser):
    """A parser that reports a wrong command line in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="chapter4",
        description=(
            "Explain what image and text models look at. Works without a network."
        ),
        epilog=(
            f"`chapter4 COMMAND --help` has the options and an example; {EXIT_CODES}"
        ),
    )
    parser.add_argument(
        "--version", action="version", version=f"chapter4 {__version__}"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(
        name: str,
        run: Callable[[argparse.Namespace], dict[str, Any]],
        words: str,
        example: str,
        more: str = "",
    ) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(
            name,
            help=words,
            description=f"{words[0].upper()}{words[1:]}.",
            epilog=f"{more}example: chapter4 {name} {example}\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        command.add_argument(
            "--json",
            action="store_true",
            help="print the results as one JSON object, and nothing else",
        )
        return command

    shows = "".join(f"  {name:<16}{words}\n" for name, (_, words) in METHODS.items())
    interpret = add(
        "interpret",
        _interpret,
        "maps of one photo by several methods, as figures and arrays",
        "cat --methods gradcam ig --output cat-report",
        f"methods, for the score of one class:\n{shows}\n",
    )
    _add_photo(interpret)
    interpret.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        default=["gradcam", "ig", "smoothgrad"],
        metavar="METHOD",
        help="one or more of those below (default: gradcam ig smoothgrad)",
    )
    interpret.add_argument(
        "--target",
        metavar="CLASS",
        help="class to explain, name or index (default: the predicted)",
    )
    _add_output(
        interpret,
        "overview.png and a figure (.png) and the arrays (.npz) of each method",
        Path("chapter4-output"),
    )
    _add_evidence(interpret)

    debug = add(
        "debug",
        _debug,
        "a report of one prediction: truth, rank, top classes, evidence",
        'dog --true-label "German shepherd"',
    )
    _add_photo(debug)
    debug.add_argument(
        "--true-label",
        required=True,
        metavar="CLASS",
        help="the ground truth, name or index",
    )
    debug.add_argument(
        "--expected-label",
        metavar="CLASS",
        help="what you expected the model to say (default: the truth)",
    )
    _add_output(debug, "report.txt, debug.png and, of a mistake, misclassification.png")
    _add_evidence(debug)

    attention = add(
        "attention",
        _attention,
        "which word attends to which, in numbers and as a figure",
        '"The cat sat on the mat" --layer 2 --output cat',
    )
    attention.add_argument("text", help="a text of two words or more, in quotes")
    attention.add_argument(
        "--layer", type=int, help="one layer, from 0 (default: the mean over all)"
    )
    attention.add_argument(
        "--head", type=int, help="one head, from 0 (default: the mean over all)"
    )
    _add_model(attention, "minilm", "minilm, bert-base-uncased or another hub name")
    _add_output(
        attention,
        "words.png, head_view.html, model_view.html, the weights as attention.npz and,"
        " with --layer, heads.png, or head.png with --head too",
    )

    text = add(
        "text",
        _text,
        "the share of each word in the sentiment of a text",
        '"A film that I would gladly see again."',
    )
    text.add_argument("text", help="a text, in quotes")
    text.add_argument(
        "--target",
        metavar="CLASS",
        help="POSITIVE or NEGATIVE (default: the predicted)",
    )
    _add_model(text, "minilm-sentiment", "minilm-sentiment or a hub name")
    _add_output(text, "text.png and the scores as text.npz")
    _add_evidence(text)
    return parser


def _add_evidence(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-evidence",
        action="store_true",
        help=(
            "do not compare each result with that of a random last layer: half the time"
        ),
    )


def _add_photo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image",
        nargs="?",
        default="cat",
        help="a photo, or the name of a sample photo (default: cat)",
    )
    names = "efficientnet-lite0, shapes, shapes-logo or resnet50"
    _add_model(parser, "efficientnet-lite0", names)


def _add_model(parser: argparse.ArgumentParser, default: str, words: str) -> None:
    words += " (default: %(default)s)"
    parser.add_argument("--model", default=default, metavar="NAME", help=words)


def _add_output(
    parser: argparse.ArgumentParser, words: str, default: Path | None = None
) -> None:
    parser.add_argument(
        "--output",
        type=Path,
        default=default,
        metavar="DIR",
        help=(
            f"a folder for {words}, and last a manifest.json (default:"
            f" {default or 'no file is written'})"
        ),
    )


def _interpret(options: argparse.Namespace) -> dict[str, Any]:
    model, photo = _model_and_photo(options)
    import numpy as np

    from chapter4.evidence.map_evidence import versions_of
    from chapter4.inputs.models import class_index, class_names_of
    from chapter4.plots.figures import TITLES, compare_maps
    from chapter4.reports.image import ImageClassifierInterpreter

    target = None if options.target is None else class_index(model, options.target)
    folder = make_folder(options.output)
    results = ImageClassifierInterpreter(model).interpret(
        photo,
        list(dict.fromkeys(options.methods)),
        target,
        evidence=not options.no_evidence,
        progress=lambda name: _say(f"{name} ..."),
    )
    name = class_names_of(model)
    files: dict[str, Any] = {}
    begin(folder)
    for key, result in results.details.items():
        stem = key.replace("+", "p")
        label = name(int(result.target))  # type: ignore[arg-type]  # one image: no list
        figure = compare_maps(
            np.asarray(results["image"]) / 255,
            {f"{TITLES[result.method]}\n{label}": result},
            evidence=[results.evidence[key]],
        )
        alt = (
            f"{TITLES[result.method]} of {photo.name} for the class {label}, beside the"
            " crop"
        )
        files[key] = {
            "figure": save_figure(figure, folder / f"{stem}.png"),
            "alt": alt,
            "arrays": save_arrays(folder / f"{stem}.npz", **_arrays(result)),
            "target": result.target,
            "label": label,
            "score": result.score,
            "settings": dict(result.settings),
            **results.evidence[key].facts(),
        }
    overview = ImageClassifierInterpreter(model).visualize(results)
    predictions = _predictions(results)
    facts = {
        "command": "interpret",
        "image": _identity(photo),
        "model": options.model,
        "predictions": predictions,
        "overview": save_figure(overview, folder / "overview.png"),
        "methods": files,
    }
    write_manifest(folder, versions_of(model), **facts)
    for row in predictions:
        print(f"{row['probability']:7.2%}  {row['label']}")
    for key, evidence in results.evidence.items():
        if known := ["blank"] * evidence.blank + evidence.lines():
            print(f"{TITLES[results.details[key].method]}: {'; '.join(known)}")
    print(f"written to {folder}")
    return facts


def _debug(options: argparse.Namespace) -> dict[str, Any]:
    model, photo = _model_and_photo(options)
    from chapter4.evidence.map_evidence import versions_of
    from chapter4.inputs.models import class_index
    from chapter4.reports.image import debug_model_prediction
    from chapter4.reports.misclassification import MisclassificationAnalyzer

    truth = class_index(model, options.true_label)
    expected = options.expected_label
    if expected is not None:
        expected = class_index(model, expected)
    folder = options.output and make_folder(options.output)
    evidence = not options.no_evidence
    _say("computing the maps ...")
    report = debug_model_prediction(model, photo, truth, expected, evidence=evidence)
    facts = {
        "command": "debug",
        "image": _identity(photo),
        "model": options.model,
        "predictions": _predictions(report.results),
        "true_label": report.true_label,
        "expected_label": report.expected_label,
        "true_rank": report.true_rank,
        "true_probability": report.true_probability,
        "evidence": {k: known.facts() for k, known in report.results.evidence.items()},
    }
    if folder is None:
        return facts
    begin(folder)
    files = {
        "report": "report.txt",
        "figure": save_figure(report.figure, folder / "debug.png"),
    }
    text = report.text
    if not report.correct:
        print()
        analysis = MisclassificationAnalyzer(model).analyze_misclassification(
            photo, report.true_label, evidence=evidence
        )
        files["analysis"] = save_figure(
            analysis.figure, folder / "misclassification.png"
        )
        text += "\n\n" + analysis.text
    (folder / "report.txt").write_text(text + "\n", encoding="utf-8")
    facts["files"] = files
    write_manifest(folder, versions_of(model), **facts)
    print(f"written to {folder}")
    return facts


def _attention(options: argparse.Namespace) -> dict[str, Any]:
    _say("loading the model ...")
    from chapter4.attention.weights import attention_weights
    from chapter4.attention.words import most_attended, word_attention
    from chapter4.inputs.models import load_bert

    bert = load_bert(options.model)
    folder = options.output and make_folder(options.output)
    attention = attention_weights(options.text, bert)
    words = word_attention(
        attention, layers=options.layer, heads=options.head, keep_special=False
    )
    print(f"{words.source}; pieces merged, special tokens left out, self excluded")
    width = max(len(word) for word in words.words)
    rows = []
    for found, removed in zip(most_attended(words), words.removed, strict=True):
        best, second = found.best, found.runner_up
        pairs = [pair for pair in (best, second) if pair is not None]
        attends = [{"word": pair.to_word, "weight": pair.weight} for pair in pairs]
        rows.append({"word": found.word, "attends": attends, "special": removed})
        line = f"  {found.word:<{width}} -> {best.to_word:<{width}} {best.weight:.3f}"
        if second is not None:
            line += f"   then {second.to_word:<{width}} {second.weight:.3f}"
        print(f"{line}   ({removed:.0%} on special tokens)")
    facts = {
        "command": "attention",
        "text": options.text,
        "model": options.model,
        "source": words.source,
        "words": rows,
    }
    if folder is None:
        return facts
    from chapter4.plots.attention import (
        visualize_attention,
        visualize_multi_head_attention,
        visualize_word_attention,
    )
    from chapter4.plots.bertviz import head_view, model_view

    begin(folder)
    files = {
        "words": save_figure(visualize_word_attention(words), folder / "words.png")
    }
    if options.layer is not None and options.head is None:
        grid = visualize_multi_head_attention(options.text, options.layer, bert=bert)
        files["heads"] = save_figure(grid, folder / "heads.png")
    if options.layer is not None and options.head is not None:
        one = visualize_attention(options.text, options.layer, options.head, bert=bert)
        files["head"] = save_figure(one, folder / "head.png")
    for name, view in (("head_view", head_view), ("model_view", model_view)):
        page = view(options.text, bert=bert).save(folder / f"{name}.html")
        files[name] = page.name
    facts["files"] = files
    facts["arrays"] = save_arrays(
        folder / "attention.npz", weights=attention.weights, tokens=attention.tokens
    )
    write_manifest(folder, **facts)
    print(f"written to {folder}")
    return facts


def _text(options: argparse.Namespace) -> dict[str, Any]:
    _say("loading the model ...")
    from chapter4.evidence.map_evidence import versions_of
    from chapter4.reports.text import (
        TextClassifierInterpreter,
        figure_of,
        word_scores,
    )

    interpreter = TextClassifierInterpreter(options.model)
    target = options.target
    if target and target.isdecimal():
        target = int(target)
    folder = options.output and make_folder(options.output)
    _say("computing the shares ...")
    result = interpreter.interpret(
        options.text, target, evidence=not options.no_evidence
    )
    words, scores = word_scores(result)
    prediction = result["prediction"]
    print(f"{prediction['label']} ({prediction['probability']:.1%})")
    width = max(map(len, words))
    for word, score in zip(words, scores, strict=True):
        print(f"  {word:<{width}}  {score:+.3f}")
    print(
        f"share of each word in the {result['target_label']} logit; relative"
        f" {'; '.join(result['evidence'].lines())}"
    )
    facts = {
        "command": "text",
        "text": options.text,
        "model": options.model,
        "prediction": prediction,
        "target": result["target"],
        "label": result["target_label"],
        "words": [
            {"word": word, "score": score}
            for word, score in zip(words, scores, strict=True)
        ],
        "evidence": result["evidence"].facts(),
        "delta": result["delta"],
    }
    if folder is None:
        return facts
    begin(folder)
    facts["figure"] = save_figure(figure_of(result), folder / "text.png")
    facts["arrays"] = save_arrays(
        folder / "text.npz",
        tokens=result["tokens"],
        attributions=result["attributions"],
    )
    write_manifest(folder, versions_of(interpreter.model), **facts)
    print(f"written to {folder}")
    return facts


def _model_and_photo(options: argparse.Namespace) -> tuple[nn.Module, Path]:
    from chapter4.inputs.images import load_image, sample_photo, sample_photos

    photo = Path(options.image)
    if options.image in sample_photos() and not photo.exists():
        photo = sample_photo(options.image)
    load_image(photo)  # a bad file is reported before a model is loaded
    _say("loading the model ...")
    from chapter4.inputs.models import load_classifier

    return load_classifier(options.model), photo


def _predictions(results: Interpretation) -> list[dict[str, Any]]:
    found = results["predictions"]
    rows = zip(found["classes"], found["labels"], found["probabilities"], strict=True)
    return [
        {"class": int(i), "label": label, "probability": float(p)}
        for i, label, p in rows
    ]


def _arrays(result: Any) -> dict[str, Any]:
    return {
        name: getattr(result, name)
        for name in ("map", "raw", "attributions")
        if hasattr(result, name)
    }


def _identity(photo: Path) -> dict[str, str]:
    from hashlib import sha256

    return {"file": photo.name, "sha256": sha256(photo.read_bytes()).hexdigest()}


def _say(words: str) -> None:
    # Progress for a user at a terminal. In a log, stderr holds only errors.
    if sys.stderr.isatty():
        print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
