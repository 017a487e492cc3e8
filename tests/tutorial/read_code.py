"""Prints the frame number that the test card shows in its lowest rows: read_code.py PICTURE WIDTH
HEIGHT, where the card is WIDTH x HEIGHT pixels and at (8, 8) of the picture, as in a page with a
browser's default margin."""

import sys

from PIL import Image

picture = Image.open(sys.argv[1]).convert("L")
width, height = int(sys.argv[2]), int(sys.argv[3])
BLOCKS = 34


def block(n):
    return picture.getpixel((8 + (2 * n + 1) * width // (2 * BLOCKS), 8 + height - 8))


white, black = block(0), block(1)
if white - black < 100:
    sys.exit(f"no test card there: {white} and {black}")
number = 0
for n in range(2, BLOCKS):
    number = number << 1 | (block(n) > (white + black) / 2)
print(number)
