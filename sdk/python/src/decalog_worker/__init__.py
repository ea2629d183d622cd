"""The process that serves one Python model over the Open Inference Protocol on a Unix socket.

It is put beside any model's own environment, and needs nothing but the standard library. It must not import numpy or
pandas unless the model does, and `--describe` must not run any of the model's code. From the bottom up: what
annotations mean (`hints`, `source`, `objects`), what a model takes and gives (`signature`, `schema`), requests to
values (`plan`, `readers`), values to answers (`encoders`, `answers`, `replies`), the kinds of models (`forms`,
`estimator`), `loading`, the `protocol`, the `server`, `fork`, the static description (`describe`), and what a process
does by its role (`roles`). What describes a model imports nothing of what serves one.

Each module imports those of its package when it is imported itself, never later: a model may empty `sys.modules`.
"""
