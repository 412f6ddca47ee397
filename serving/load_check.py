"""`python -m serving.load_check FOLDER`: load a SavedModel in this fresh process, as the model server would, and answer its golden request.

Prints nothing and exits 0 where the answer is the recorded one; else prints one line and exits 1.
"""

import sys
from pathlib import Path

from serving import golden
from serving.model_server import bare_tensorflow
from training.signatures import SIGNATURE


def main() -> int:
    folder = Path(sys.argv[1])
    bare_tensorflow.prepare()
    from serving.model_server.errors import ServingError
    from serving.model_server.servable import Servable

    try:
        request = golden.read(folder)
        servable = Servable(folder)
        dtypes = {name: wanted.dtype for name, wanted in servable.signature(SIGNATURE).inputs.items()}
        answer = servable.run(SIGNATURE, request.arrays(dtypes))
        request.check(answer)
    except (ServingError, golden.GoldenMismatch) as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
