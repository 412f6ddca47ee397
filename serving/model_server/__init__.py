"""The embedded model server: TensorFlow Serving's gRPC and REST protocol, flags, folder layout and rules, in one Python process.

    flags.py       the command line, TensorFlow Serving's names
    config.py      models.config: which models, which versions of each
    servable.py    one loaded SavedModel and how it is run; signature.py: whether a request fits it
    catalogue.py   which versions are loaded, loading and unloading, labels
    grpc_api.py    PredictionService, ModelService, health
    rest_api.py    the same over HTTP; rest_tensors.py turns JSON into arrays and back
    __main__.py    start and stop; bare_tensorflow.py: TensorFlow without Keras

Importing this package imports nothing; its modules import TensorFlow. Clients use `serving.model_client`.
"""
