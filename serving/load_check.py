"""`python -m serving.load_check FOLDER MODEL`: load a SavedModel in this fresh process, as the model server would, and judge it.

Prints nothing and exits 0 where its operations are allowed, its signature is the model's, and its golden answer is the recorded one; else
prints one line and exits 1.
"""

import sys
from pathlib import Path

from serving.model_server import bare_tensorflow


def main() -> int:
    folder, model = Path(sys.argv[1]), sys.argv[2]
    bare_tensorflow.prepare()
    from serving.model_server import admission, operations  # TensorFlow
    from serving.model_server.errors import ServingError
    from serving.model_server.servable import Servable

    try:
        admission.check_contract(model, admission.load_checked(folder, Servable, operations.read_allowed()))
    except ServingError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
