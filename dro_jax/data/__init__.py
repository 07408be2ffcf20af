"""Feedback data: sources, tasks, batches and their inspection.

Modules are imported by name; importing this package alone imports neither seqio nor
TensorFlow.
"""
