"""A language server: what an editor asks about a document while it is written.

    syntax      a tree of the text, also of a half-typed one
    text        offsets in the text and positions in the editor
    names       where ids are defined and referred to
    keys        the keys and values that a place takes
    findings    faults, types, values and gradients
    worker      processes of their own for findings, so that no document can block the editor
    completion, hover, navigation, actions    one answer each
    server      the answers under their names in the protocol

The answers are functions of a `Text`; only `server` knows of connections, and only it and `worker` of processes.
"""
