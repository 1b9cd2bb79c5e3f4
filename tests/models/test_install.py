"""Installing models from files, folders and servers into a library of one's own."""

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ase.build import molecule

import tlpot
from tlpot.errors import ConfigError, DownloadError, ModelFileError, OutputError
from tlpot.models import (
    LIBRARY,
    Ensemble,
    ModelCard,
    ModelSource,
    Potential,
    Query,
    catalogue,
    content_hash,
    install,
    installed_names,
    library_file,
    own_library,
    preset,
    save,
    write_index,
)


def _potential(seed: int = 0) -> Potential:
    references = {"pbe/dz": {1: -13.0, 8: -2000.0}}
    potential = Potential.create(preset("tiny", (1, 8)), references, seed=seed)
    potential.card = ModelCard(name="water", licence="CC-BY-4.0", description="for water")
    return potential


def _water(path: Path, seed: int = 0) -> str:
    return save(_potential(seed), path)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with an index: a potential and an ensemble."""
    folder = tmp_path_factory.mktemp("shelf")
    _water(folder / "water.safetensors")
    save(Ensemble([_potential(1), _potential(2)]), folder / "waters.safetensors")
    write_index(folder)
    return folder


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """An empty library of one's own."""
    folder = tmp_path / "own"
    monkeypatch.setenv("TLPOT_MODELS", str(folder))
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args):
        """Says nothing."""


class _Truncating(_Quiet):
    def do_GET(self):
        """Announces a whole file and sends half of it."""
        content = Path(self.translate_path(self.path)).read_bytes()
        whole = self.path.endswith(".json")
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content if whole else content[: len(content) // 2])


@pytest.fixture
def serve():
    """Serves folders until the test is over."""
    running = []

    def start(folder, handler=_Quiet):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


def _nothing_was_written(own):
    return not own.exists() or not any(own.iterdir())


def test_a_model_installed_from_a_server_works_by_its_name(shelf, serve, own):
    made = install("water", place=serve(shelf))
    assert made.is_new
    assert made.path == own / "water.safetensors"
    assert made.path.read_bytes() == (shelf / "water.safetensors").read_bytes()
    assert made.sha256 == content_hash("water") == content_hash(shelf / "water.safetensors")
    assert [p.name for p in own.iterdir()] == ["water.safetensors"]
    assert tlpot.load("water", device="cpu").levels == ("pbe/dz",)
    atoms = molecule("H2O")
    atoms.calc = tlpot.TLPotCalculator("water", device="cpu")
    assert atoms.get_potential_energy() < -2000.0
    assert "water" in [entry.source for entry in catalogue()]


@pytest.mark.parametrize("ending", ["", "/", "/tlpot-models.json"])
def test_urls_of_files_and_folders_do_as_well(shelf, ending):
    url = shelf.as_uri()
    assert install("waters", place=url + ending).levels == ("pbe/dz",)
    assert install(f"{url}/water.safetensors").name == "water"
    assert installed_names() == ["water", "waters"]


def test_a_folder_without_an_index_is_looked_through(shelf, tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    _water(folder / "h2o.safetensors")
    (entry,) = ModelSource(folder).entries
    assert (entry.name, entry.kind, entry.elements) == ("h2o", "Potential", (1, 8))
    assert install("h2o", place=folder).sha256 == entry.sha256


def test_the_index_tells_what_a_search_asks_for(shelf, serve):
    potential, ensemble = ModelSource(serve(shelf)).entries
    assert potential.licence == "CC-BY-4.0"
    assert ensemble.kind == "Ensemble"
    assert potential.size == (shelf / "water.safetensors").stat().st_size
    assert Query(elements=(8,), level="pbe").accepts(potential.as_catalogue())
    assert not Query(elements=(6,)).accepts(potential.as_catalogue())


def test_the_same_content_is_not_written_twice(shelf, own):
    install("water", place=shelf)
    before = (own / "water.safetensors").stat().st_mtime_ns
    assert not install(shelf / "water.safetensors").is_new
    assert (own / "water.safetensors").stat().st_mtime_ns == before


def test_another_content_needs_force_or_another_name(shelf, tmp_path):
    install("water", place=shelf)
    other = tmp_path / "water.safetensors"
    digest = _water(other, seed=1)
    with pytest.raises(ModelFileError, match="installed already with another content"):
        install(other)
    assert content_hash("water") == content_hash(shelf / "water.safetensors")
    assert install(other, name="water2").name == "water2"
    install(other, force=True)
    assert content_hash("water") == digest


def test_a_shipped_name_cannot_be_taken(shelf):
    with pytest.raises(ModelFileError, match="ships another model called 'tlpot-tiny'"):
        install("water", place=shelf, name="tlpot-tiny", force=True)
    made = install(LIBRARY / "tlpot-tiny.safetensors")
    assert (made.is_new, made.path.parent) == (False, LIBRARY)


def test_a_name_that_stands_for_two_models_stands_for_neither(own):
    own.mkdir()
    _water(own / "tlpot-tiny.safetensors")
    with pytest.raises(ModelFileError, match="is the name of two models"):
        tlpot.load("tlpot-tiny")
    (entry,) = [e for e in catalogue() if e.source == "tlpot-tiny"]
    assert "is the name of two models" in entry.problem
    (own / "tlpot-tiny.safetensors").write_bytes((LIBRARY / "tlpot-tiny.safetensors").read_bytes())
    assert library_file("tlpot-tiny").parent == LIBRARY


def _damage_file(folder):
    path = folder / "water.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _shorten_file(folder):
    path = folder / "water.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _lengthen_file(folder):
    path = folder / "water.safetensors"
    path.write_bytes(path.read_bytes() + b"more")


@pytest.mark.parametrize("over_http", [False, True])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_damage_file, "not the file that its index lists"),
        (_shorten_file, "is truncated"),
        (_lengthen_file, "not the file that its index lists|holds more than"),
        (lambda folder: (folder / "water.safetensors").unlink(), "cannot read|404"),
    ],
)
def test_what_is_not_as_listed_is_refused(tmp_path, own, serve, damage, message, over_http):
    folder = tmp_path / "shelf"
    folder.mkdir()
    _water(folder / "water.safetensors")
    write_index(folder)
    damage(folder)
    place = serve(folder) if over_http else folder
    with pytest.raises((ModelFileError, DownloadError), match=message):
        install("water", place=place)
    assert _nothing_was_written(own)


def test_a_truncated_download_is_refused(shelf, serve, own):
    url = serve(shelf, _Truncating)
    for source, place in (("water", url), (f"{url}water.safetensors", None)):
        with pytest.raises(DownloadError, match="truncated"):
            install(source, place=place)
    assert _nothing_was_written(own)


def test_what_is_not_there_is_said(shelf, serve, tmp_path, own):
    url = serve(tmp_path)
    with pytest.raises(DownloadError, match=r"404 .*has an index tlpot-models\.json"):
        ModelSource(url)
    with pytest.raises(DownloadError, match="404"):
        install(f"{url}none.safetensors")
    with pytest.raises(ModelFileError, match="did you mean 'water'"):
        install("watr", place=shelf)
    with pytest.raises(ModelFileError, match="there is no folder"):
        install("water", place=tmp_path / "nowhere")
    with pytest.raises(ModelFileError, match="--from DIR or --from URL"):
        install("water")
    with pytest.raises(ConfigError, match="URLs begin with http"):
        install("water", place="ftp://host/folder")
    with pytest.raises(ConfigError, match="no model file"):
        install("http://host/folder")
    assert _nothing_was_written(own)


def test_what_is_no_model_is_refused(tmp_path, own):
    path = tmp_path / "notes.safetensors"
    path.write_bytes(b"these are notes")
    with pytest.raises(ModelFileError, match="not a safetensors file"):
        install(path)
    with pytest.raises(ModelFileError, match="not a safetensors file"):
        write_index(tmp_path)
    assert not (tmp_path / "tlpot-models.json").exists()
    assert _nothing_was_written(own)


def test_a_wrong_hash_given_by_hand_is_refused(shelf, own):
    path = shelf / "water.safetensors"
    with pytest.raises(ModelFileError, match="expected 00"):
        install(path, sha256="00" * 32)
    assert _nothing_was_written(own)
    assert install(path, sha256=content_hash(path).upper()).is_new


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../up", "x.safetensors", "a b"])
def test_names_that_could_be_paths_are_refused(shelf, name):
    with pytest.raises(ConfigError, match="a model cannot be called"):
        install(shelf / "water.safetensors", name=name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "../../etc/passwd"}, "name of a file beside the index"),
        ({"sha256": "abc"}, "64 digits"),
        ({"name": "../x"}, "cannot be called"),
        ({"size": 0}, "number of bytes"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_an_index_that_is_not_one_is_refused(shelf, tmp_path, change, message):
    content = json.loads((shelf / "tlpot-models.json").read_text())
    content["models"][0] |= change
    (tmp_path / "tlpot-models.json").write_text(json.dumps(content))
    with pytest.raises(ModelFileError, match=message):
        ModelSource(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ('{"format": "other"}', "no index of models"),
        ('{"format": "tlpot-models", "format_version": 2}', "update tlpot"),
        ('{"format": "tlpot-models", "format_version": 1, "models": 3}', "list of entries"),
    ],
)
def test_a_file_that_is_no_index_is_refused(tmp_path, content, message):
    (tmp_path / "tlpot-models.json").write_text(content)
    with pytest.raises(ModelFileError, match=message):
        ModelSource(tmp_path)


def test_where_ones_own_models_are(monkeypatch, tmp_path):
    monkeypatch.setenv("TLPOT_MODELS", str(tmp_path))
    assert own_library() == tmp_path
    monkeypatch.delenv("TLPOT_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert own_library() == tmp_path / "tlpot" / "models"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert own_library() == Path.home() / ".local" / "share" / "tlpot" / "models"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert own_library() == Path.home() / ".local" / "share" / "tlpot" / "models"


def test_a_library_that_cannot_be_made_is_said(shelf, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TLPOT_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(OutputError, match="cannot make the folder"):
        install("water", place=shelf)
