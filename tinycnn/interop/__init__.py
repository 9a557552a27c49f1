"""Models from other libraries, and for them. Each format has a module of its own: `keras`, `torch`, `onnx`.

What is read may come from strangers: nothing in a file is run or unpickled, and what it claims is checked
before memory is asked for.
"""
