"""The server as an editor meets it: a process, spoken to over its standard streams."""

import asyncio
import itertools
import json
import random
import sys
import threading
import time

import pytest
from lsprotocol import types
from pygls.lsp.client import LanguageClient

import circuitflow as cf
from circuitflow.lsp.findings import compute
from circuitflow.lsp.server import Server
from circuitflow.lsp.worker import Worker, builtin_gates
from support import slow_findings
from support.suite import FILES, GUARD, ROOT

STAGED = (ROOT / "circuits/staged.json").read_text()


class Editor(LanguageClient):
    """A client that remembers what it is told."""

    def __init__(self):
        super().__init__("editor", "1")
        self.diagnostics = {}
        self.changed = asyncio.Event()
        self.version = 0

        @self.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def publish(params):
            self.diagnostics[params.uri] = params
            self.changed.set()

        @self.feature(types.WORKSPACE_INLAY_HINT_REFRESH)
        def refresh(params):
            self.changed.set()

    async def begin(self, *arguments, encodings=("utf-16",)):
        await self.start_io(sys.executable, "-m", "circuitflow", "lsp", *arguments)
        capabilities = types.ClientCapabilities(
            general=types.GeneralClientCapabilities(position_encodings=list(encodings)),
            workspace=types.WorkspaceClientCapabilities(inlay_hint=types.InlayHintWorkspaceClientCapabilities(
                refresh_support=True)))
        answer = await self.initialize_async(types.InitializeParams(capabilities=capabilities))
        self.initialized(types.InitializedParams())
        return answer

    def open(self, uri, text):
        self.text_document_did_open(types.DidOpenTextDocumentParams(types.TextDocumentItem(uri, "json", 0, text)))

    def change(self, uri, text):
        self.version += 1
        self.text_document_did_change(types.DidChangeTextDocumentParams(
            types.VersionedTextDocumentIdentifier(version=self.version, uri=uri),
            [types.TextDocumentContentChangeWholeDocument(text)]))

    async def wait(self, is_so):
        while not is_so():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), GUARD)

    async def end(self):
        await self.shutdown_async(None)
        self.exit(None)
        await asyncio.wait_for(self._server.wait(), GUARD)
        assert self._server.returncode == 0
        await self.stop()


def talk(conversation, *arguments, **ways):
    async def whole():
        editor = Editor()
        await editor.begin(*arguments, **ways)
        await conversation(editor)
        await editor.end()
    asyncio.run(whole())


def messages(editor, uri):
    """What is shown of a document; None before anything is."""
    shown = editor.diagnostics.get(uri)
    return shown and [diagnostic.message for diagnostic in shown.diagnostics]


def test_a_conversation(tmp_path):
    path = tmp_path / "c.json"
    uri, document = path.as_uri(), types.TextDocumentIdentifier(path.as_uri())
    path.write_text(STAGED)

    async def conversation(editor):
        editor.open(uri, STAGED)
        await editor.wait(lambda: messages(editor, uri) == [])
        hints = []
        while not hints:  # values come after faults
            hints = await editor.text_document_inlay_hint_async(types.InlayHintParams(
                document, types.Range(types.Position(0, 0), types.Position(99, 0))))
            await asyncio.sleep(0)
        assert "= 3  ∇ 2.05957" in [hint.label for hint in hints]
        editor.change(uri, STAGED.replace('"sigmoid"', '"sigmod"', 1))
        await editor.wait(lambda: messages(editor, uri))
        (diagnostic,) = editor.diagnostics[uri].diagnostics
        assert diagnostic.message.endswith("did you mean 'sigmoid'?")
        (action,) = await editor.text_document_code_action_async(types.CodeActionParams(
            document, diagnostic.range, types.CodeActionContext([diagnostic])))
        assert action.edit.changes[uri][0].new_text == "sigmoid"
        editor.change(uri, STAGED[: len(STAGED) // 2])
        await editor.wait(lambda: "bracket" in str(messages(editor, uri)) or "quote" in str(messages(editor, uri)))
        editor.change(uri, STAGED)
        await editor.wait(lambda: messages(editor, uri) == [])
        line = next(i for i, text in enumerate(STAGED.splitlines()) if '"id": "sigy"' in text)
        at = types.Position(line, STAGED.splitlines()[line].index("sigy") + 1)
        assert "`sigy`" in (await editor.text_document_hover_async(types.HoverParams(document, at))).contents.value
        (place,) = await editor.text_document_definition_async(types.DefinitionParams(document, at))
        assert place.range.start.line == line
        assert len(await editor.text_document_references_async(types.ReferenceParams(
            types.ReferenceContext(include_declaration=True), document, at))) == 2
        edit = await editor.text_document_rename_async(types.RenameParams(
            text_document=document, position=at, new_name="s"))
        assert [entry.new_text for entry in edit.changes[uri]] == ["s", "s"]
        with pytest.raises(Exception, match="'2' is no id"):
            await editor.text_document_rename_async(types.RenameParams(
                text_document=document, position=at, new_name="2"))
        assert await editor.text_document_prepare_rename_async(types.PrepareRenameParams(document, at))
        assert [symbol.name for symbol in await editor.text_document_document_symbol_async(types.DocumentSymbolParams(
            document))][:2] == ["x", "y"]
        assert await editor.text_document_folding_range_async(types.FoldingRangeParams(document))
        assert "add" in [item.label for item in (await editor.text_document_completion_async(types.CompletionParams(
            document, types.Position(line, STAGED.splitlines()[line].index('"sigmoid"') + 1)))).items]
        assert await editor.text_document_formatting_async(types.DocumentFormattingParams(
            document, types.FormattingOptions(2, insert_spaces=True))) in ([], ())
        editor.text_document_did_close(types.DidCloseTextDocumentParams(document))
    talk(conversation)


def test_why_a_gradient_is_zero_is_told_after_its_values_and_taken_back(tmp_path):
    uri, document = (tmp_path / "c.json").as_uri(), types.TextDocumentIdentifier((tmp_path / "c.json").as_uri())
    sources = [cf.dumps(cf.new("f = sigmoid(x) * y", {"x": x, "y": 2})) for x in (800, 1)]
    lines = sources[0].splitlines()
    rows = [next(i for i, line in enumerate(lines) if f'"id": "{name}"' in line) for name in ("x", "sigmoid_x")]
    at = types.Position(rows[0], lines[rows[0]].index('"x"') + 1)

    async def conversation(editor):
        editor.open(uri, sources[0])
        await editor.wait(lambda: messages(editor, uri))
        (hint,) = editor.diagnostics[uri].diagnostics
        assert (hint.severity, hint.range.start.line) == (types.DiagnosticSeverity.Hint, rows[1])
        assert "sigmoid is saturated (x = 800): the gradient on 'x' is zero; smallest change" in hint.message
        shown = await editor.text_document_hover_async(types.HoverParams(document, at))
        assert f"([line {rows[1] + 1}]({uri}#L{rows[1] + 1}))" in shown.contents.value
        editor.change(uri, sources[1])
        shown = await editor.text_document_hover_async(types.HoverParams(document, at))
        assert "why" not in shown.contents.value
        await editor.wait(lambda: messages(editor, uri) == [])
    talk(conversation)


def test_faults_of_another_file_stand_there_and_go_when_it_is_mended(tmp_path):
    part = tmp_path / "part.json"
    whole = ('{"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input"}, '
             '{"id": "y", "gate": "exp", "inputs": ["x"]}], "outputs": ["y"]}')
    part.write_text(whole.replace("exp", "expp"))
    source = ('{"circuitflow": "1.0", "circuits": {"part": {"file": "part.json"}}, "outputs": ["f"], "nodes": ['
              '{"id": "x", "gate": "input"}, {"id": "f", "gate": "call", "circuit": "part", "inputs": ["x"]}]}')
    uri = (tmp_path / "c.json").as_uri()

    async def conversation(editor):
        editor.open(uri, source)
        await editor.wait(lambda: messages(editor, part.as_uri()))
        assert "there is no gate" in messages(editor, part.as_uri())[0]
        (here,) = editor.diagnostics[uri].diagnostics
        assert here.message.startswith("part.json:1: node 'y': there is no gate")
        assert source[here.range.start.character:here.range.end.character] == '"part.json"'
        editor.open(part.as_uri(), whole)
        await editor.wait(lambda: messages(editor, part.as_uri()) == [])
        editor.text_document_did_save(types.DidSaveTextDocumentParams(types.TextDocumentIdentifier(uri)))
        await editor.text_document_folding_range_async(types.FoldingRangeParams(types.TextDocumentIdentifier(uri)))
        assert messages(editor, part.as_uri()) == []  # what is open has its own
        editor.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(part.as_uri())))
        part.write_text(whole)
        editor.text_document_did_save(types.DidSaveTextDocumentParams(types.TextDocumentIdentifier(uri)))
        await editor.wait(lambda: messages(editor, part.as_uri()) == [])
    talk(conversation)


def test_columns_are_those_that_the_editor_asked_for(tmp_path):
    uri = (tmp_path / "c.json").as_uri()

    async def conversation(editor):
        editor.open(uri, '{"circuitflow": "1.0",\n"\u2028": 1,\n"name": "🙂", "nodez": []}')
        await editor.wait(lambda: messages(editor, uri))
        places = {(diagnostic.range.start.line, diagnostic.range.start.character)
                  for diagnostic in editor.diagnostics[uri].diagnostics}
        assert (2, len('"name": "", ') + 4) in places
    talk(conversation, encodings=("utf-8",))


def test_a_file_that_is_no_circuit_is_left_alone(tmp_path):
    uri = (tmp_path / "c.json").as_uri()

    async def conversation(editor):
        editor.open(uri, '{"name": "circuit", "nodes": 1')
        await editor.wait(lambda: messages(editor, uri) == [])
        editor.change(uri, '{"circuitflow": "1.0", "nodes": 1')
        await editor.wait(lambda: messages(editor, uri))
    talk(conversation)


def test_whatever_a_document_is_called_it_is_read():
    async def conversation(editor):
        for uri in ("untitled:Untitled-1", "file:///a%20b/%C3%A9%25.json", "file:///c%3A/c.json", "file:///%00.json",
                    "file://server/share/c.json", "vscode-notebook-cell:/x#1", "x", "file:", f"file:///{'a' * 5000}"):
            gone = types.FoldingRangeParams(types.TextDocumentIdentifier(uri))
            assert not await editor.text_document_folding_range_async(gone)
            editor.open(uri, STAGED.replace('"sigmoid"', '"sigmoidd"'))
            await editor.wait(lambda uri=uri: messages(editor, uri))
            place = types.TextDocumentIdentifier(uri), types.Position(2**31 - 1, 2**31 - 1)
            await editor.text_document_completion_async(types.CompletionParams(*place))
    talk(conversation)


def test_half_documents_get_answers(tmp_path):
    uri = (tmp_path / "c.json").as_uri()
    document = types.TextDocumentIdentifier(uri)
    draw = random.Random(23)
    sources = [path.read_text() for path in FILES if path.stat().st_size < 5000]

    async def conversation(editor):
        editor.open(uri, "")
        for _ in range(60):
            source = draw.choice(sources)
            start, end = sorted(draw.randrange(len(source)) for _ in range(2))
            end = min(end, start + draw.choice([1, 5, 50, 10_000]))
            source = draw.choice([source[:start], source[:start] + source[end:], source[:start] + draw.choice(
                ["{", "}", '"', "[", "]", ",", "\u2028", "🙂", "\\"]) + source[start:]])
            editor.change(uri, source)
            lines = source.splitlines() or [""]
            row = draw.randrange(len(lines))
            at = types.Position(row, draw.randrange(len(lines[row]) + 1))
            everything = types.Range(types.Position(0, 0), types.Position(len(lines), 0))
            await asyncio.gather(
                editor.text_document_completion_async(types.CompletionParams(document, at)),
                editor.text_document_hover_async(types.HoverParams(document, at)),
                editor.text_document_definition_async(types.DefinitionParams(document, at)),
                editor.text_document_references_async(types.ReferenceParams(
                    types.ReferenceContext(True), document, at)),
                editor.text_document_prepare_rename_async(types.PrepareRenameParams(document, at)),
                editor.text_document_document_symbol_async(types.DocumentSymbolParams(document)),
                editor.text_document_folding_range_async(types.FoldingRangeParams(document)),
                editor.text_document_inlay_hint_async(types.InlayHintParams(document, everything)),
                editor.text_document_formatting_async(types.DocumentFormattingParams(document, types.FormattingOptions(
                    2, True))))
        editor.change(uri, STAGED)
        await editor.wait(lambda: messages(editor, uri) == [] and editor.diagnostics[uri].version == editor.version)
    talk(conversation)


def test_a_table_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "own_gates.py").write_text(
        "import circuitflow as cf\n"
        "TABLE = {**cf.GATES, 'cube': cf.GATES['square']}\n")
    monkeypatch.chdir(tmp_path)
    uri = (tmp_path / "c.json").as_uri()

    async def conversation(editor):
        editor.open(uri, STAGED.replace('"square"', '"cube"').replace('"pow"', '"powr"'))
        await editor.wait(lambda: messages(editor, uri) is not None)
        assert not any("cube" in message for message in messages(editor, uri))
    talk(conversation, "--gates", "own_gates:TABLE")


def test_what_cannot_be_told_is_not_told_of():
    """An editor that is gone has no stream; whoever reports this to the editor meets it again, without an end."""
    class Gone:
        times = 0

        def write(self, data):
            self.times += 1
            raise ValueError("write to closed file")

    server = Server(builtin_gates, "1")
    gone = Gone()
    server.protocol.set_writer(gone)
    server.forget("file:///c.json")
    for worker in (server.reader, server.computer):
        worker.close()
    server.shutdown()
    assert gone.times == 1


# The process that reads documents -------------------------------------------------------------------------------------

@pytest.fixture
def ask():
    """A function that has a worker compute a text, and gives the answer."""
    workers = []

    def answers(source, **ways):
        worker = Worker(compute, **ways)
        workers.append(worker)
        return again(worker, source)

    def again(worker, source):
        arrived, last = threading.Event(), []

        def answer(findings):
            last.append(findings)
            arrived.set()
        worker.ask("file:///c.json", None, source, answer)
        assert arrived.wait(GUARD)
        return worker, last[-1]

    answers.again = again
    yield answers
    for worker in workers:
        worker.close()


ENDLESS = json.dumps({"circuitflow": "1.0", "circuits": {"step": {"nodes": [
    {"id": "c", "gate": "input"}, {"id": "i", "gate": "input"}, {"id": "n", "gate": "add", "inputs": ["c", "i"]}],
    "outputs": ["n"]}}, "nodes": [
        {"id": "c", "gate": "input", "value": 0},
        {"id": "xs", "gate": "constant", "value": {"random": "normal", "shape": [3_000_000], "seed": 1}},
        {"id": "f", "gate": "scan", "circuit": "step", "carry": {"c": "n"}, "over": ["i"], "inputs": ["c", "xs"]}],
    "outputs": ["f"]})


def test_a_document_that_takes_too_long_is_given_up(ask):
    worker, findings = ask(ENDLESS, patience=2.0)
    assert findings.warnings[0].message.startswith("the document takes more than 2 seconds")
    assert findings.facts == {}
    _, findings = ask.again(worker, STAGED)
    assert findings.facts["nodes", 0].values == ("3",)


DEAD = "the process that reads the document ended; it may take too much memory"


def test_a_process_that_dies_is_replaced(ask):
    worker, _ = ask(STAGED)
    worker._process.kill()
    told = [ask.again(worker, STAGED)[1] for _ in range(3)]  # the first answer may be that it died
    assert told[-1].facts
    assert {findings.reason for findings in told} <= {"", DEAD}


def test_a_worker_that_computes_is_closed_at_once():
    worker = Worker(compute, patience=GUARD)
    answered = []
    worker.ask("file:///c.json", None, ENDLESS, answered.append)
    while worker._connection is None or worker._pending:
        time.sleep(0.01)
    worker.close()  # which does not wait for the guard
    assert answered == []


def test_faults_do_not_wait_for_values(tmp_path):
    uri = (tmp_path / "c.json").as_uri()

    async def conversation(editor):
        editor.open(uri, ENDLESS)
        await editor.wait(lambda: messages(editor, uri) == [])
        editor.change(uri, ENDLESS.replace('"add"', '"addd"'))
        await editor.wait(lambda: messages(editor, uri))
        assert "there is no gate" in messages(editor, uri)[0]  # and not that the values took too long
        texts = {}
        for _ in range(50):  # the last is shown, and none beside the text of another version
            texts[editor.version + 1] = f"gate{editor.version + 1}"
            editor.change(uri, STAGED.replace('"sigmoid"', f'"{texts[editor.version + 1]}"'))
            await asyncio.sleep(0)
            shown = editor.diagnostics[uri]
            assert all(texts.get(shown.version, "addd") in fault.message for fault in shown.diagnostics)
        await editor.wait(lambda: editor.diagnostics[uri].version == editor.version)
        assert len(messages(editor, uri)) == 2
        editor.change(uri, ENDLESS)
        editor.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri)))
        other = (tmp_path / "other.json").as_uri()
        editor.open(other, STAGED.replace('"sigmoid"', '"sigmoidd"'))
        await editor.wait(lambda: messages(editor, other))
        assert messages(editor, uri) == []
    talk(conversation)


def wait_until(is_true):
    looks = itertools.count()
    while not is_true():
        assert next(looks) < 100 * GUARD
        time.sleep(0.01)


def told(work, texts, count, *, apart=False, **ways):
    """The first that a worker tells of texts of one document, or of several, each asked once one before is told of."""
    worker, reasons = Worker(work, **ways), []
    for text in texts:
        before = len(reasons)
        uri = f"file:///{text if apart else 'c'}.json"
        worker.ask(uri, None, text, lambda findings: reasons.append(findings.reason))
        wait_until(lambda before=before: len(reasons) > before)
    wait_until(lambda: len(reasons) >= count)
    worker.close()
    return reasons[:count]


def test_what_comes_later_takes_nothing_from_what_was_told():
    assert told(slow_findings.told_and_more, ["a"], 2) == ["a", "a more"]
    assert told(slow_findings.told_and_more, ["die", "a"], 3, apart=True) == ["die", "a", "a more"]
    texts = ["sleep", "a"]
    assert told(slow_findings.told_and_more, texts, 3, patience=GUARD) == ["sleep", "a", "a more"]
    assert told(slow_findings.told_and_more, texts, 4, apart=True, patience=GUARD) == ["sleep", "a", "a more", "sleep"]


def test_a_newer_text_takes_its_turn():
    assert told(slow_findings.many_turns, ["wait", "a"], 2, patience=GUARD) == ["wait", "a"]


def test_of_long_documents_each_is_looked_at_to_its_end():
    texts = ["wait", "wait too", "wait again"]
    assert told(slow_findings.many_turns, texts, 5, apart=True, patience=1.0) == [*texts, *texts[:2]]


def test_no_document_waits_for_a_long_one(ask):
    worker, answered = Worker(compute, patience=GUARD), []
    worker.ask("file:///long.json", None, ENDLESS, answered.append)
    for _ in range(2):  # it is left, and looked at again
        wait_until(lambda: worker._connection and worker._task and worker._task.uri == "file:///long.json")
        _, findings = ask.again(worker, STAGED)
        assert findings.facts["nodes", 0].values == ("3",)
    worker.close()
    assert answered == []


@pytest.mark.parametrize("is_told", [True, False])
def test_a_document_that_is_closed_is_looked_at_no_more(ask, is_told):
    work, source = (slow_findings.many_turns, "wait") if is_told else (compute, ENDLESS)
    worker, answered = Worker(work, patience=GUARD), []
    worker.ask("file:///long.json", None, source, answered.append)
    wait_until(lambda: answered if is_told else worker._connection and worker._task)
    worker.forget("file:///long.json")
    ask.again(worker, STAGED)
    assert (len(answered), worker._left) == (is_told, {})
    worker.close()


def test_of_many_texts_only_the_latest_is_read():
    worker = Worker(compute)
    answered, done = [], threading.Event()
    for i in range(50):
        source = STAGED.replace('"value": 3', f'"value": {i}')

        def answer(findings, i=i):
            answered.append(i)
            if i == 49 and findings.facts:
                done.set()
        worker.ask("file:///c.json", None, source, answer)
    assert done.wait(GUARD)
    worker.close()
    assert len(set(answered)) <= 3


def test_an_error_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pygls.lsp.server", None)
    monkeypatch.delitem(sys.modules, "circuitflow.lsp.server", raising=False)
    from circuitflow.cli.lsp import command

    monkeypatch.setitem(sys.modules, "pygls", None)
    with pytest.raises(cf.MissingExtraError, match=r"pip install 'circuitflow\[lsp\]'"):
        command()
