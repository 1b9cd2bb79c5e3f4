"""How the package is built, in numbers: python benchmarks/house.py [--repository DIR] [--names].

Lines, files, share of import lines; circles of modules (imports inside functions count, those for
type checkers do not; a name that comes through a package counts for the module that defines it);
public classes of one name; functions with more than eight parameters; and the modules that do
each of five things that there should be one way to do. Those are found by what such code calls,
so the list is what to look at, not only its length.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

WAYS = {
    "run molecular dynamics": re.compile(r"ase\.md\.|VelocityVerlet|Langevin\("),
    "parse an engine": re.compile(r"(startswith|removeprefix|partition)\(\"(pyscf|ase|model|:)"),
    "read a structure file": re.compile(
        r"gemmi\.read|\bcif\.read|ase\.io\.i?read\b|from ase\.io import [^\n]*\bi?read\b"
    ),
    "resume a result": re.compile(r"json\.loads\(.*read_text|\.is_file\(\)\s*:\s*\n.*json\.loads"),
}
"""What the code of each of these ways contains."""


def _loops_over_graphs(tree: ast.Module) -> bool:
    """Whether a loop evaluates an energy model on a graph that it takes or makes in each turn.

    One evaluation, as a calculator or a step of a training makes it, is none; nor is a loop over
    the members of an ensemble, or an energy model's over the parts of one structure.
    """
    for loop in ast.walk(tree):
        if not isinstance(loop, ast.For):
            continue
        taken = {n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)}
        made = {
            n.id for n in ast.walk(loop) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        for call in ast.walk(loop):
            name = ast.unparse(call.func).split(".")[-1] if isinstance(call, ast.Call) else ""
            if name in ("evaluate", "predict", "atomic_energies") and call.args:
                graph = call.args[1 if name == "evaluate" else 0]
                named = {n.id for n in ast.walk(graph) if isinstance(n, ast.Name)}
                if "graph" in ast.unparse(graph) and named & (
                    taken if name == "atomic_energies" else made
                ):
                    return True
    return False


class Package:
    """The modules of the package as syntax trees."""

    def __init__(self, root: Path) -> None:
        self.paths = {
            ".".join(p.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__"): p
            for p in sorted(root.rglob("*.py"))
        }
        self.source = {name: path.read_text() for name, path in self.paths.items()}
        self.trees = {name: ast.parse(text) for name, text in self.source.items()}
        self._exports = {
            name: dict(self._names(name, everything=True))
            for name, path in self.paths.items()
            if path.name == "__init__.py"
        }

    def _names(self, module: str, *, everything: bool) -> Iterator[tuple[str, str]]:
        """Yields each imported name with the module that it is taken from."""
        skipped: set[int] = set()
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
                skipped |= {id(inner) for inner in ast.walk(node)}
        for node in ast.walk(self.trees[module]):
            if id(node) in skipped and not everything:
                continue
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tlpot"):
                for alias in node.names:
                    yield alias.asname or alias.name, self._source(node.module or "", alias.name)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in self.paths:
                        yield alias.asname or alias.name, alias.name

    def _source(self, module: str, name: str) -> str:
        return f"{module}.{name}" if f"{module}.{name}" in self.paths else f"{module}:{name}"

    def _home(self, target: str) -> str:
        """Returns the module that defines what a package passes on."""
        for _ in range(8):
            module, _, name = target.partition(":")
            if name and name in self._exports.get(module, {}):
                target = self._exports[module][name]
            else:
                return module
        return target.partition(":")[0]

    def imports(self) -> dict[str, set[str]]:
        """Returns the modules that each module imports, packages looked through."""
        return {
            module: {self._home(t) for _, t in self._names(module, everything=False)} - {module}
            for module, path in self.paths.items()
            if path.name != "__init__.py"
        }

    def circles(self) -> list[list[str]]:
        """Returns the strongly connected groups of more than one module."""
        graph, index, low = self.imports(), {}, {}
        stack: list[str] = []
        found: list[list[str]] = []

        def visit(node: str) -> None:
            index[node] = low[node] = len(index)
            stack.append(node)
            for other in sorted(graph.get(node, ())):
                if other not in index:
                    visit(other)
                    low[node] = min(low[node], low[other])
                elif other in stack:
                    low[node] = min(low[node], index[other])
            if low[node] == index[node]:
                group = stack[stack.index(node) :]
                del stack[stack.index(node) :]
                if len(group) > 1:
                    found.append(sorted(group))

        for module in graph:
            if module not in index:
                visit(module)
        return found

    def repeated_classes(self) -> dict[str, list[str]]:
        """Returns public class names that several modules define."""
        homes = defaultdict(list)
        for module, tree in self.trees.items():
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes[node.name].append(module)
        return {name: where for name, where in sorted(homes.items()) if len(where) > 1}

    def long_signatures(self) -> list[str]:
        """Returns functions with more than eight parameters, those of ``tlpot.api`` aside."""
        found = []
        for module, tree in self.trees.items():
            if module == "tlpot.api":
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    arguments = node.args
                    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
                    count = len([n for n in names if n not in {"self", "cls"}])
                    count += len(arguments.kwonlyargs)
                    if count > 8:
                        found.append(f"{module}.{node.name} ({count})")
        return found

    def ways(self) -> dict[str, list[str]]:
        """Returns the modules that do each thing that there should be one way to do."""
        loops = [name for name, tree in self.trees.items() if _loops_over_graphs(tree)]
        return {
            "run a model over structures": loops,
            **{
                what: [name for name, text in self.source.items() if pattern.search(text)]
                for what, pattern in WAYS.items()
            },
        }

    def import_lines(self) -> int:
        """Returns the number of lines that import statements take."""
        return sum(
            (node.end_lineno or node.lineno) - node.lineno + 1
            for tree in self.trees.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--names", action="store_true", help="what is counted, by name")
    options = parser.parse_args()
    package = Package(options.repository / "tlpot")
    lines = {name: text.count("\n") for name, text in package.source.items()}
    skips = sum(text.count("# fmt: skip") for text in package.source.values())
    uncounted = {"tlpot.api"} | {
        name
        for name in lines
        if re.search(r"(dynamics|jobs|cli)\.(relax\w*|frequencies|vibrations|predict)$", name)
    }
    total = sum(lines.values())
    print(f"lines in tlpot/                     {total}")
    print(
        "  without api, relax, frequencies, predict   "
        f"{total - sum(lines[n] for n in uncounted if n in lines)}"
    )
    print(f"# fmt: skip                         {skips}")
    print(f"files                               {len(lines)}")
    print(f"share of import lines               {package.import_lines() / total:.1%}")
    counts = Counter(name.split(".")[1] for name in lines if name.count(".") > 1)
    print("files by room                       " + ", ".join(f"{k} {v}" for k, v in counts.items()))
    lists = {
        "circles of modules": [" <-> ".join(c) for c in package.circles()],
        "public class names used twice": [
            f"{name}: {', '.join(where)}" for name, where in package.repeated_classes().items()
        ],
        "functions with more than 8 parameters": package.long_signatures(),
        **{f"modules that {what}": where for what, where in package.ways().items()},
    }
    for what, items in lists.items():
        print(f"{what:<37}{len(items)}")
        if options.names:
            print("".join(f"    {item}\n" for item in items), end="")


if __name__ == "__main__":
    main()
