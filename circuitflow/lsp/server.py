"""The server: the answers of this room under their names in the Language Server Protocol, over standard input."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from lsprotocol import types
from pygls.exceptions import JsonRpcInternalError, JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from circuitflow.errors import Fault
from circuitflow.gates import GateTable
from circuitflow.lsp import editing, navigation
from circuitflow.lsp.completion import complete
from circuitflow.lsp.findings import NAME, Findings, compute, read
from circuitflow.lsp.hover import hover
from circuitflow.lsp.syntax import word_end
from circuitflow.lsp.text import Text
from circuitflow.lsp.worker import Worker
from circuitflow.text import printable

SOURCE = "circuitflow"
"""Who an editor says that a message is from."""

VERSION_KEY = '"circuitflow"'
"""What every document has. A JSON file without it is something else, of which nothing is said."""

TRIGGERS = ['"', ":", ",", "[", "{", "."]
"""The characters behind which an editor asks for words without being told to."""


class Server(LanguageServer):
    """The state of a connection: the texts that are open, and what is known of each.

    One process reads documents and another computes them: a text that takes long to compute holds up no faults of a
    later one.
    Every change brings the whole text. That costs a megabyte for ten thousand nodes and cannot get out of step with the
    editor, whatever characters end a line.
    """

    def __init__(self, table: Callable[[], GateTable], version: str) -> None:
        """A server without documents; `table` gives the gates."""
        super().__init__("circuitflow-lsp", version, text_document_sync_kind=types.TextDocumentSyncKind.Full)
        self.gates, self.reader, self.computer = table(), Worker(read, table), Worker(compute, table)
        self.texts: dict[str, Text] = {}
        self.findings: dict[str, Findings] = {}
        self.elsewhere: dict[str, set[str]] = {}

    def text(self, uri: str) -> Text:
        """The latest text of a document; an empty one of a document that is not open, whatever lies on the disk."""
        return self.texts.get(uri) or Text(uri, None, "")

    def read(self, uri: str) -> None:
        """Look at a document again, and tell the editor what is found."""
        document, loop = self.workspace.get_text_document(uri), asyncio.get_running_loop()
        encoding = self.workspace.position_encoding or types.PositionEncodingKind.Utf16
        text = self.texts[uri] = Text(uri, document.version, document.source,
                                      types.PositionEncodingKind(encoding).value, self.gates, _folder(uri))
        self.findings.pop(uri, None)
        if VERSION_KEY not in text.source:
            self.tell(text, Findings())
            return

        path = str(_path(uri) or "") or None

        def tell(findings: Findings) -> None:
            with suppress(RuntimeError):  # the connection has ended
                loop.call_soon_threadsafe(self.tell, text, findings)

        def tell_and_compute(findings: Findings) -> None:
            tell(findings)
            if not findings.faults and not findings.reason and self.texts.get(uri) is text:
                self.computer.ask(uri, path, text.source, tell)

        self.reader.ask(uri, path, text.source, tell_and_compute)

    def tell(self, text: Text, findings: Findings) -> None:
        """Show faults, warnings and hints, unless the text has changed meanwhile."""
        if self.texts.get(text.uri) is not text:
            return
        self.findings[text.uri] = findings
        faults = [*((fault, types.DiagnosticSeverity.Error) for fault in findings.faults),
                  *((fault, types.DiagnosticSeverity.Warning) for fault in findings.warnings),
                  *((fault, types.DiagnosticSeverity.Hint) for fault in findings.hints)]
        own, by_file = [], defaultdict(list)
        for fault, severity in faults:
            diagnostic = _diagnostic(text, fault, severity)
            own.append(diagnostic)
            for other in diagnostic.related_information or ():
                by_file[other.location.uri].append(types.Diagnostic(other.location.range, fault.message, severity,
                                                                    source=SOURCE))
        self._publish(text.uri, text.version, own)
        for uri in self.elsewhere.pop(text.uri, set()) | by_file.keys():
            self._publish_elsewhere(uri, by_file[uri])
        self.elsewhere[text.uri] = {uri for uri, diagnostics in by_file.items() if diagnostics}
        if self.client_capabilities.workspace and (hints := self.client_capabilities.workspace.inlay_hint) and (
                hints.refresh_support):
            self.workspace_inlay_hint_refresh(None)

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Tell the editor of an error, but for one met while telling: to tell of that meets it again."""
        if source is not JsonRpcInternalError:
            super().report_server_error(error, source)

    def forget(self, uri: str) -> None:
        """Take back what is shown of a document that is closed."""
        self.texts.pop(uri, None)
        self.findings.pop(uri, None)
        for worker in (self.reader, self.computer):
            worker.forget(uri)
        self._publish(uri, None, [])
        for other in self.elsewhere.pop(uri, ()):
            self._publish_elsewhere(other, [])

    def _publish_elsewhere(self, uri: str, diagnostics: list[types.Diagnostic]) -> None:
        """Show faults of another file, unless it is open: then it has its own."""
        if uri not in self.texts:
            self._publish(uri, None, diagnostics)

    def _publish(self, uri: str, version: int | None, diagnostics: list[types.Diagnostic]) -> None:
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, diagnostics, version))


def _path(uri: str) -> Path | None:
    """The file of a document; None for one that has none, or none on this system."""
    try:
        path = Path(to_fs_path(uri) or "")
    except ValueError:  # such as an address without its bracket
        return None
    return path if path.is_absolute() and "\0" not in uri and "%00" not in uri else None


def _folder(uri: str) -> Path | None:
    path = _path(uri)
    return path.parent if path else None


def _diagnostic(text: Text, fault: Fault, severity: types.DiagnosticSeverity) -> types.Diagnostic:
    """A fault as an editor takes it. One in another file stands where the text names a file, and leads there."""
    line, column = fault.line or 1, fault.column or 1
    if fault.file == NAME:
        start = text.place(line, column)
        return types.Diagnostic(text.range(start, word_end(text.source, start)), fault.message, severity, source=SOURCE)
    path = Path(fault.file).absolute()
    where = types.Range(types.Position(line - 1, column - 1), types.Position(line - 1, column))
    named = text.names.file(path.name)
    return types.Diagnostic(
        text.range(named.start, named.end) if named else text.range(0, 0),
        f"{printable(path.name)}:{line}: {fault.message}",
        severity, source=SOURCE, related_information=[types.DiagnosticRelatedInformation(
            types.Location(path.as_uri(), where), fault.message)])


def serve(table: Callable[[], GateTable], version: str) -> None:
    """Answer an editor over standard input and output until it says goodbye.

    Args:
        table: gives the gate table; another process imports it by its name and calls it too.
        version: of circuitflow, for the editor's log.
    """
    server = Server(table, version)
    feature = server.feature

    @feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(server: Server, params: types.DidOpenTextDocumentParams) -> None:
        server.read(params.text_document.uri)

    @feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(server: Server, params: types.DidChangeTextDocumentParams) -> None:
        server.read(params.text_document.uri)

    @feature(types.TEXT_DOCUMENT_DID_SAVE)
    def did_save(server: Server, params: types.DidSaveTextDocumentParams) -> None:
        for uri in list(server.texts):  # it may be a file that another document names
            server.read(uri)

    @feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(server: Server, params: types.DidCloseTextDocumentParams) -> None:
        server.forget(params.text_document.uri)

    @feature(types.SHUTDOWN)
    def shutdown(server: Server, params: None) -> None:
        server.texts.clear()  # of what is still found, nobody wants to know

    @feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=TRIGGERS))
    def completion(server: Server, params: types.CompletionParams) -> types.CompletionList:
        uri = params.text_document.uri
        return complete(server.text(uri), params.position)

    @feature(types.TEXT_DOCUMENT_HOVER)
    def on_hover(server: Server, params: types.HoverParams) -> types.Hover | None:
        uri = params.text_document.uri
        return hover(server.text(uri), server.findings.get(uri, Findings()), params.position)

    @feature(types.TEXT_DOCUMENT_DEFINITION)
    def definition(server: Server, params: types.DefinitionParams) -> list[types.Location]:
        uri = params.text_document.uri
        return navigation.definition(server.text(uri), params.position)

    @feature(types.TEXT_DOCUMENT_REFERENCES)
    def references(server: Server, params: types.ReferenceParams) -> list[types.Location]:
        return navigation.references(server.text(params.text_document.uri), params.position,
                                     with_definition=params.context.include_declaration)

    @feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
    def prepare_rename(server: Server, params: types.PrepareRenameParams) -> types.Range | None:
        return navigation.renamed_word(server.text(params.text_document.uri), params.position)

    @feature(types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True))
    def rename(server: Server, params: types.RenameParams) -> types.WorkspaceEdit:
        uri = params.text_document.uri
        try:
            edits = navigation.rename(server.text(uri), params.position, params.new_name)
        except navigation.RenameError as error:
            raise JsonRpcInvalidParams(str(error)) from None
        return types.WorkspaceEdit({uri: edits})

    @feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def symbols(server: Server, params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
        return navigation.symbols(server.text(params.text_document.uri))

    @feature(types.TEXT_DOCUMENT_FOLDING_RANGE)
    def folds(server: Server, params: types.FoldingRangeParams) -> list[types.FoldingRange]:
        return navigation.folds(server.text(params.text_document.uri))

    @feature(types.TEXT_DOCUMENT_FORMATTING)
    def formatting(server: Server, params: types.DocumentFormattingParams) -> list[types.TextEdit]:
        return editing.formatted(server.text(params.text_document.uri))

    @feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions([types.CodeActionKind.QuickFix]))
    def actions(server: Server, params: types.CodeActionParams) -> list[types.CodeAction]:
        return list(editing.corrections(server.text(params.text_document.uri), list(params.context.diagnostics)))

    @feature(types.TEXT_DOCUMENT_INLAY_HINT)
    def hints(server: Server, params: types.InlayHintParams) -> list[types.InlayHint]:
        uri = params.text_document.uri
        return editing.hints(server.text(uri), server.findings.get(uri, Findings()), params.range)

    try:
        server.start_io(*_streams())
    finally:
        server.reader.close()
        server.computer.close()


def _streams() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output for the editor alone: whatever is printed goes to standard error."""
    streams = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return streams
