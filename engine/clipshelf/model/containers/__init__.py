"""Files of pictures, read up to their pixels: size, cost and orientation, and what a decoder is given of them."""
