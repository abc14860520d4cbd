"""Experts of other frameworks: ONNX models, each read, checked and run in a process of its own.

A model may be hostile: a small file can ask for gigabytes or for hours. So this process never opens one. `process`
starts `worker`, which limits its own memory and time, has the model checked by `inspection` and runs it.
"""
