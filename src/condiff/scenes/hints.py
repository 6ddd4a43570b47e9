"""What is found in any picture as a hint of it, when it is written and when it is looked for again."""

import numpy as np

from condiff.pretrained import library

CANNY = ("skimage.feature", "hints")  # its library, and the extra that brings it
_GREY = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)
_STEP = 4.0  # length of Sobel's gradient at a step from black to white, the largest but for corners


def grey(picture: np.ndarray) -> np.ndarray:
    """[H, W] in [0, 1], of [H, W] or [H, W, 3] uint8."""
    return (picture if picture.ndim == 2 else picture @ _GREY) / 255


def edges(picture: np.ndarray, threshold: float) -> np.ndarray:
    """[H, W] bool, where Sobel's gradient is longer than this share of a full step."""
    around = np.pad(grey(picture), 1, mode="edge")
    across, down = (_differences(around if axis else around.T) for axis in (1, 0))
    return np.hypot(across, down.T) > _STEP * threshold


def canny(picture: np.ndarray, sigma: float, low: float, high: float) -> np.ndarray:
    """[H, W] bool, thin edges of the blurred brightness (Canny 1986), by scikit-image.

    Each is over ``high`` of a full step somewhere, and over ``low`` all along.
    """
    return library(*CANNY).canny(grey(picture), sigma, _STEP * low, _STEP * high)


def thing(picture: np.ndarray, threshold: float) -> np.ndarray:
    """[H, W] bool, what is further from the colour of the picture's rim than this share of black to white."""
    pixels = np.atleast_3d(picture).astype(float)
    rim = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    away = np.sqrt(np.square(pixels - np.median(rim, 0)).mean(-1))
    return away > 255 * threshold


def coarse(picture: np.ndarray, factor: int) -> np.ndarray:
    """[H, W] or [H, W, 3] in [0, 255]: squares of factor x factor pixels, each of its mean colour."""
    height, width = (side // factor for side in picture.shape[:2])
    squares = picture.reshape(height, factor, width, factor, -1).mean((1, 3))
    whole = squares.repeat(factor, 0).repeat(factor, 1)
    return whole if picture.ndim == 3 else whole[..., 0]


def _differences(around: np.ndarray) -> np.ndarray:
    """From left to right, [H, W] of [H + 2, W + 2]: Sobel's filter."""
    rows = around[:, 2:] - around[:, :-2]
    return rows[:-2] + 2 * rows[1:-1] + rows[2:]
