"""ONNX: models become documents with their weights beside them, and circuits become models.

A gate's row says which operator it is; see `circuitflow.gates.record.Onnx`.
"""
