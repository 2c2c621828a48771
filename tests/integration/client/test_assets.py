"""Assets that are added and read through the SDK: a real server, Postgres, and an asset store with mutual TLS."""

import asyncio
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.client import (
    AsyncClient,
    BuildError,
    CallError,
    Client,
    FolderError,
    StoreError,
    sources,
    transfers,
)
from orchestrator.client.folders import checksum, digest, files
from orchestrator.core.documents import DocumentError
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import free_port
from tests.kit.home import Home, done, folders_in, function_in, serving_store
from tests.kit.proxy import Proxy
from tests.kit.waiting import wait_until

MIB = 1024 * 1024
MEASURES = """
outputs:
  model: {kind: model}
  auc: {kind: performance}
"""


def test_an_organization_is_registered_once(home: Home) -> None:
    assert home.client.register_organization(f"{home.url}/").address == home.url
    with pytest.raises(StoreError, match=f"is registered in .* already, with the address '{home.url}'"):
        home.client.register_organization("https://elsewhere.example")
    with pytest.raises(StoreError, match="with no address, which cannot be changed"):
        home.other.register_organization("https://elsewhere.example")


def test_a_function_is_its_folder(home: Home, tmp_path: Path) -> None:
    function = home.function(tmp_path / "average", permissions="org-2", metadata={"a": "b"})
    assert (function.name, function.owner, function.metadata) == ("average", "org-1", {"a": "b"})
    assert function.inputs == {"models": pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True)}
    assert function.outputs == {"model": pb.FunctionOutput(kind=pb.ASSET_MODEL)}
    assert sorted(function.permissions.process.authorized_ids) == ["org-1", "org-2"]
    assert home.is_there(function.description) == b"# average\n"
    home.is_there(function.archive)
    assert function.archive.storage_address == f"{home.url}/functions/{function.key}/archive"
    # Whoever may run it fetches it.
    with home.store.peer("org-2") as peer:
        assert peer.get(function.archive.storage_address).status_code == 200
    again = home.function(tmp_path / "average", name="another")
    assert (again.name, again.archive.checksum) == ("another", function.archive.checksum)
    assert again.key != function.key


def test_with_a_key_of_its_own_a_function_is_there_once(home: Home, tmp_path: Path) -> None:
    key = str(uuid.uuid4())
    first = home.function(tmp_path / "average", key=key.upper())
    assert home.function(tmp_path / "average", key=key) == first
    with pytest.raises(CallError, match="OE0006"):
        home.function(tmp_path / "average", key=key, permissions="org-2")
    (tmp_path / "average" / "function.py").write_text("print(2)\n")
    with pytest.raises(StoreError, match=f"functions/{key}/archive is there already .* take a new key"):
        home.client.add_function(tmp_path / "average", key=key)
    assert home.client.function(key) == first


def test_what_is_no_function_reaches_nobody(home: Home, tmp_path: Path) -> None:
    before = sorted(home.store.root.rglob("*"))
    with pytest.raises(DocumentError, match=r"function\.yaml, line 3: "):
        home.function(tmp_path / "slip", "outputs:\n  model:\n    kind: modle\n")
    (function_in(tmp_path / "bare") / "Dockerfile").unlink()
    with pytest.raises(FolderError, match="has no Dockerfile"):
        home.client.add_function(tmp_path / "bare")
    (function_in(tmp_path / "linked") / "data").symlink_to("/etc/passwd")
    with pytest.raises(FolderError, match="leaves its folder"):
        home.client.add_function(tmp_path / "linked")
    assert sorted(home.store.root.rglob("*")) == before


def test_data_stay_at_home_and_are_known_by_their_content(home: Home, tmp_path: Path) -> None:
    opener = tmp_path / "opener"
    opener.mkdir()
    (opener / "__init__.py").write_text("class Opener: ...\n")
    dataset = home.client.add_dataset(opener, name="patients", permissions="org-2", logs="org-2", description="# P\n")
    assert home.is_there(dataset.opener) == b"class Opener: ...\n"
    assert home.is_there(dataset.description) == b"# P\n"
    assert sorted(dataset.logs_permission.authorized_ids) == ["org-1", "org-2"]
    folders = folders_in(tmp_path, b"one", b"two", b"one")
    added = home.client.add_samples(folders, dataset)
    assert len({sample.key for sample in added}) == 2
    assert added[0] == added[2]
    for sample, folder in zip(added, folders, strict=True):
        there = home.store.root / "data_samples" / sample.key
        assert (there / "patients.csv").read_bytes() == (folder / "patients.csv").read_bytes()
        assert sample.checksum == checksum((file.name, digest(file.path)) for file in files(there))
        assert sample.data_manager_keys == [dataset.key]
    empty = tmp_path / "empty"
    empty.mkdir()
    before = home.samples()
    (another,) = folders_in(tmp_path / "more", b"three")
    again = home.client.add_samples([*folders, another], dataset.key)
    assert again[:3] == added
    assert home.samples() == before | {again[3].key}
    with pytest.raises(FolderError, match="has no files"):
        home.client.add_samples([*folders, empty], dataset)
    # One folder is one, not the letters of its name.
    assert home.client.add_samples(str(another), dataset) == home.client.add_samples(another, dataset) == again[3:]
    with pytest.raises(FolderError, match=r"empty/__init__\.py is missing: an opener is a Python file"):
        home.client.add_dataset(empty, name="no opener")


def another(home: Home, certificates: Layout) -> Client:
    return Client(home.client.address, "org-1", home.client.channel, certificates.client("org-1"))


def test_who_adds_the_same_folder_at_the_same_time_adds_it_once(
    home: Home, tmp_path: Path, certificates: Layout
) -> None:
    dataset = home.client.add_dataset(__file__, name="patients")
    folders = folders_in(tmp_path, b"one", b"two", b"three", b"four")
    barrier = threading.Barrier(4)

    def add(first: int) -> list[pb.DataSample]:
        with another(home, certificates) as client:
            client.ping()
            barrier.wait(20)
            return client.add_samples(folders[first:] + folders[:first], dataset)

    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(add, range(4)))
    keys = home.client.datasets.GetDataset(pb.GetDatasetParam(key=dataset.key)).data_sample_keys
    assert len(keys) == len(folders)
    for first, samples in enumerate(added):
        assert samples[4 - first :] + samples[: 4 - first] == added[0]
    assert {sample.key for sample in added[0]} == set(keys) <= home.samples()


def test_what_another_has_added_meanwhile_is_not_added_again(home: Home, tmp_path: Path, certificates: Layout) -> None:
    """Between the look at what is there and the registration."""
    dataset = home.client.add_dataset(__file__, name="patients")
    folders = folders_in(tmp_path, b"one", b"two", b"three")
    first: list[pb.DataSample] = []
    with another(home, certificates) as late:
        register = late.data_samples.RegisterDataSamples

        def registered(new: pb.RegisterDataSamplesParam) -> pb.RegisterDataSamplesResponse:
            first.extend([] if first else home.client.add_samples(folders[:2], dataset))
            return register(new)

        late.data_samples.RegisterDataSamples = registered
        added = late.add_samples(folders, dataset)
    assert len(first) == 2
    assert added[:2] == first
    keys = home.client.datasets.GetDataset(pb.GetDatasetParam(key=dataset.key)).data_sample_keys
    assert sorted(keys) == sorted(sample.key for sample in added)


def test_a_stranger_keeps_no_content_out(home: Home, tmp_path: Path) -> None:
    """Who knows a content and the data set knows the key that it would get."""
    dataset = home.client.add_dataset(__file__, name="patients")
    (folder,) = folders_in(tmp_path, b"guessed")
    known = sources.of_folder(folder).checksum
    theirs = home.other.register(
        pb.NewDataManager(
            key=str(uuid.uuid4()),
            name="theirs",
            new_permissions=pb.NewPermissions(),
            logs_permission=pb.NewPermissions(),
            description=dataset.description,
            opener=dataset.opener,
        )
    )
    taken = str(uuid.uuid5(uuid.UUID(dataset.key), known))
    home.other.register(pb.NewDataSample(key=taken, data_manager_keys=[theirs.key], checksum=known))
    (sample,) = home.client.add_samples([folder], dataset)
    assert (sample.owner, sample.checksum, sample.data_manager_keys) == ("org-1", known, [dataset.key])
    assert sample.key != taken
    assert home.client.add_samples([folder], dataset) == [sample]


def test_asyncio_does_the_same(home: Home, tmp_path: Path, certificates: Layout, served_address: str) -> None:
    async def run() -> None:
        async with AsyncClient(served_address, "org-1", home.client.channel, certificates.client("org-1")) as client:
            assert (await client.register_organization(home.url)).address == home.url
            function, dataset = await asyncio.gather(
                client.add_function(function_in(tmp_path / "average", MEASURES)),
                client.add_dataset(__file__, name="patients"),
            )
            home.is_there(function.archive)
            samples = await client.add_samples(folders_in(tmp_path, b"one", b"two"), dataset)
            assert {sample.key for sample in samples} <= home.samples()
            with pytest.raises(TimeoutError):
                await client.wait_ready(function, timeout=0.1)
            home.built(function)
            assert [ready.key for ready in await client.wait_ready(function)] == [function.key]
            plan = client.plan("plan")
            task = plan.task(function=function, worker="org-1")
            await plan.submit()
            key = done(home, task.key, b"content")
            registered = await client.tasks.GetTask(pb.GetTaskParam(key=task.key))
            for named in (task, task.key, registered, key):
                assert (await client.model(named)).key == key
            with pytest.raises(CallError, match=f"OE0002: model {function.key} does not exist"):
                await client.model(function.key)
            assert (await client.download(task, tmp_path / "model")).read_bytes() == b"content"
            assert [score.value for score in await plan.scores()] == [0.5]

    asyncio.run(run())


def sending(home: Home, tmp_path: Path, size: int) -> "tuple[Future[list[pb.DataSample]], bytes]":
    """Add a sample beside the test, and return when a part of it has come and nothing more gets through."""
    dataset = home.client.add_dataset(__file__, name="patients")
    content = os.urandom(size)
    folders = folders_in(tmp_path, content)
    pool = ThreadPoolExecutor(1)
    adding = pool.submit(home.client.add_samples, folders, dataset)
    pool.shutdown(wait=False)

    def come() -> bool:
        return any(path.stat().st_size for path in (home.store.root / ".uploads").glob("*.partial"))

    wait_until(come, timeout=60, message="a part of it to come")
    home.proxy.cut()
    return adding, content


def test_a_connection_that_breaks_is_made_again(home: Home, tmp_path: Path) -> None:
    adding, content = sending(home, tmp_path, 32 * MIB)
    assert not adding.done()
    (partial,) = (home.store.root / ".uploads").glob("*.partial")
    come = partial.stat().st_size
    assert come < 32 * MIB
    home.proxy.sever()
    home.proxy.mend()
    (sample,) = adding.result(60)
    assert (home.store.root / "data_samples" / sample.key / "patients.csv").read_bytes() == content
    assert [path.name for path in (home.store.root / ".uploads").iterdir()] == ["unnamed"]


def test_a_connection_that_is_lost_without_a_word_is_given_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a firewall that has forgotten it, while the store's answer is waited for."""
    monkeypatch.setattr(transfers, "_SILENT_SECONDS", 1)
    names = [f"functions/{uuid.uuid4()}/description" for _ in range(2)]
    with closing(home.client._stores.connect()) as connection, ThreadPoolExecutor(1) as pool:
        connection.put(home.url, names[0], sources.of_text("first"))
        home.store.process.send_signal(signal.SIGSTOP)
        try:
            putting = pool.submit(connection.put, home.url, names[1], sources.of_text("second"))
            home.proxy.lose()
        finally:
            home.store.process.send_signal(signal.SIGCONT)
        assert putting.result(60) == f"{home.url}/{names[1]}"
    assert (home.store.root / names[1]).read_text() == "second"


def test_what_was_damaged_on_the_way_is_sent_anew(home: Home, tmp_path: Path) -> None:
    """As by a power cut: the store's disk has bytes that were never sent."""
    dataset = home.client.add_dataset(__file__, name="patients")
    (folder,) = folders_in(tmp_path, os.urandom(MIB))
    known = checksum((file.name, digest(file.path)) for file in files(folder))
    (home.store.root / ".uploads" / f"tar-{known}.partial").write_bytes(bytes(MIB // 2))
    (sample,) = home.client.add_samples([folder], dataset)
    there = home.store.root / "data_samples" / sample.key
    assert checksum((file.name, digest(file.path)) for file in files(there)) == known == sample.checksum


def test_a_store_that_is_killed_and_comes_back_is_gone_on_with(
    tmp_path: Path, served_address: str, certificates: Layout, free_channels: Iterator[str]
) -> None:
    channel, port = next(free_channels), free_port()
    root = tmp_path / "store"
    root.mkdir()
    with Proxy(port) as proxy, Client(served_address, "org-1", channel, certificates.client("org-1")) as client:
        url = f"https://127.0.0.1:{proxy.port}"
        client.register_organization(url)
        with serving_store(root, certificates, served_address, channel, port, url) as store:
            home = Home(client, client, store, proxy, url)
            adding, content = sending(home, tmp_path, 32 * MIB)
            store.process.send_signal(signal.SIGKILL)
            store.process.wait(60)
        assert not adding.done()
        proxy.sever()
        proxy.mend()
        with serving_store(root, certificates, served_address, channel, port, url):
            (sample,) = adding.result(60)
    assert (root / "data_samples" / sample.key / "patients.csv").read_bytes() == content


def test_what_stands_in_the_way_is_one_line(
    home: Home, tmp_path: Path, certificates: Layout, served_address: str, free_channels: Iterator[str]
) -> None:
    def client(
        organization: str, channel: str = home.client.channel, peers: Path | None = certificates.peers
    ) -> Client:
        files = replace(certificates.client(organization), peers=peers)
        return Client(served_address, organization, channel, files)

    with client("org-1", peers=None) as bare, pytest.raises(StoreError, match="give Certificates with all four files"):
        bare.add_function(function_in(tmp_path / "average"))
    channel = next(free_channels)
    with client("org-2", channel) as other:
        # Its store is said to be another's.
        other.register_organization(home.url)
        with pytest.raises(StoreError, match="answered 403 only org-1 may put anything into its asset store"):
            other.add_dataset(__file__, name="patients")
    with client("org-1", channel) as ours:
        with pytest.raises(StoreError, match="org-1 has no asset store that the others know"):
            ours.add_dataset(__file__, name="too early")
        ours.register_organization(f"https://localhost:{home.proxy.port}")
        with pytest.raises(StoreError, match="its ORCHESTRATOR_STORE_URL must be the registered address"):
            ours.add_dataset(__file__, name="patients")


def test_functions_are_waited_for(home: Home, tmp_path: Path) -> None:
    one, other, broken = (home.function(tmp_path / "average") for _ in range(3))
    with pytest.raises(TimeoutError, match=f"'average' \\({one.key}\\) is not ready after 0.2 s"):
        home.client.wait_ready(one, other.key, timeout=0.2)
    home.built(one)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(home.client.wait_ready, one, other.key)
        home.built(other)
        assert [function.status for function in waiting.result(60)] == 2 * [pb.FUNCTION_STATUS_READY]
    home.act(broken, pb.FUNCTION_ACTION_BUILDING)
    name = f"logs/{broken.key}-1"
    log = home.store.root / name
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(f"line {number}\x1b[2J\n" for number in range(9)))
    address = pb.Addressable(checksum=digest(log), storage_address=f"{home.url}/{name}")
    report = pb.NewFailureReport(asset_key=broken.key, error_type=pb.ERROR_TYPE_BUILD, logs_address=address)
    report.asset_type = pb.FAILED_ASSET_FUNCTION
    home.client.failure_reports.RegisterFailureReport(report)
    with pytest.raises(BuildError) as caught:
        home.client.wait_ready(broken)
    head, *lines = str(caught.value).splitlines()
    assert head == f"function 'average' ({broken.key}) could not be built: BUILD error at org-1; its log ends with"
    assert lines == [f"  line {number}\ufffd[2J" for number in range(4, 9)]


def test_models_and_scores_are_read(home: Home, tmp_path: Path) -> None:
    function = home.built(home.function(tmp_path / "average", MEASURES))
    plan = home.client.plan("plan")
    first = plan.task(function=function, worker="org-1", metadata={"round": "1"}, outputs={"model": "org-2"})
    second = plan.task(function=function, worker="org-1")
    with pytest.raises(CallError, match="OE0002"):
        plan.scores()
    plan.submit()
    assert repr(plan.scores()) == "no scores yet"
    target = tmp_path / "model"
    target.write_bytes(b"old")
    with pytest.raises(StoreError, match=f"task {first.key} has made nothing as 'model' .*: it is To do"):
        home.client.download(first.outputs["model"], target)
    content = os.urandom(3 * MIB)
    key = done(home, first.key, content)
    assert home.client.download(first, tmp_path / "mine") == tmp_path / "mine"
    assert (tmp_path / "mine").read_bytes() == content
    (tmp_path / "link").symlink_to(tmp_path / "linked")
    assert home.client.download(first, tmp_path / "link") == tmp_path / "link"
    assert ((tmp_path / "linked").read_bytes(), (tmp_path / "link").is_symlink()) == (content, True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="it is no file, and a model would take its place"):
        home.client.download(first, tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    # Who may process it may have it too.
    (tmp_path / "theirs").mkdir()
    theirs = home.other.download(key, tmp_path / "theirs")
    assert (theirs, theirs.read_bytes()) == (tmp_path / "theirs" / key, content)
    (score,) = plan.scores()
    assert (score.round, score.organization, score.score, score.value, score.task) == (
        1,
        "org-1",
        "auc",
        0.5,
        first.key,
    )
    # What is not what was registered replaces nothing.
    (home.store.root / "models" / key).write_bytes(b"another")
    with pytest.raises(StoreError, match="is not the registered one"):
        home.client.download(first.outputs["model"], target)
    elsewhere = done(home, second.key, b"content", at=f"{home.url}/models/{key}")
    with pytest.raises(StoreError, match="not in its place in the asset store of org-1"):
        home.client.download(elsewhere, target)
    assert target.read_bytes() == b"old"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_is_for_others_is_not_had(home: Home, tmp_path: Path) -> None:
    function = home.built(home.function(tmp_path / "average", "outputs: {model: {kind: model}}"))
    plan = home.client.plan("plan")
    task = plan.task(function=function, worker="org-1")
    plan.submit()
    key = done(home, task.key, b"secret")
    with pytest.raises(StoreError, match=r"answered 403 .*org-2 may not read"):
        home.other.download(key, tmp_path / "stolen")
    assert not (tmp_path / "stolen").exists()
