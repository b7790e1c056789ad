"""Rows of the frame set schema with nothing but bytes to tell apart."""


def row(take_id, instant, *, views=("cam0", "cam1")):
    return {
        "take_id": take_id,
        "instant": instant,
        "shot": 0,
        "timestamp_s": instant / 25,
        "views": [
            {
                "name": name,
                "image": f"image {take_id} {instant} {name}".encode() * 20,
                "mask": b"mask",
                "geodesic_distance": b"distance",
                "mask_source": "ProvidedMasks",
                "mask_score": 1.0,
                "crop_from_image": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
                "calibrated": False,
                "K": [0.0] * 9,
                "R": [0.0] * 9,
                "t_mm": [0.0] * 3,
            }
            for name in views
        ],
    }


def rows(take_id, num):
    return [row(take_id, instant) for instant in range(num)]
