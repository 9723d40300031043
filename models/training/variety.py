"""Owns what happens to clear cells while a network learns, beside what `evaluation cells` did to the pixels before: each
time a look is seen it is a little turned and shifted, blurred or sharpened, by other light, in part behind something.
Cells with noise stay as they are, since their noise is what the product draws.
"""

import jax
import jax.numpy as jnp

# Shares of looks that are turned, relit, blurred, hidden in part.
TURNED, RELIT, BLURRED, HIDDEN = 0.5, 0.7, 0.25, 0.25
# Noise of a sensor at most, in grey levels.
GRAIN = 4.0


def turned(key, x):
    """Turned, scaled, sheared and shifted about its middle; what would come from outside repeats the edge."""
    n, rows, columns, _ = x.shape
    angle, wide, high, shear, right, down = jax.random.normal(key, (6, n)) * jnp.array(
        [0.09, 0.04, 0.04, 0.04, 0.045, 0.045])[:, None]
    wide, high = jnp.exp(wide - 0.01), jnp.exp(high - 0.01)
    c, s = jnp.cos(angle), jnp.sin(angle)
    to = jnp.stack([c * wide, (shear - s) * high, right, s * wide, c * high, down], -1).reshape(n, 2, 3)
    middles = lambda size: (2 * jnp.arange(size) + 1) / size - 1
    v, u = jnp.meshgrid(middles(rows), middles(columns), indexing="ij")
    at = jnp.einsum("nij,rcj->nrci", to, jnp.stack([u, v, jnp.ones_like(u)], -1))
    # How much of each old cell is in a new one, without a look-up: products of two ramps.
    near = lambda at, size: jax.nn.relu(1 - abs(jnp.clip((at[..., None] + 1) * size / 2 - 0.5, 0, size - 1) - jnp.arange(size)))
    share = near(at[..., 1], rows)[..., :, None] * near(at[..., 0], columns)[..., None, :]
    return jnp.einsum("njk,nkc->njc", share.reshape(n, rows * columns, -1), x.reshape(n, -1, 3)).reshape(x.shape)


def blurred(key, x):
    """Towards the mean of its neighbours, or a little away from it."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    down = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    mean = (down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]) / 4
    return x + (mean - x) * jax.random.uniform(key, (x.shape[0], 1, 1, 1), minval=-0.5, maxval=1.2)


def relit(key, x):
    """Gamma, contrast, brightness, colour of the light, saturation; grey at times."""
    keys = jax.random.split(key, 6)
    drawn = lambda i, spread, channels=1: jnp.exp(spread * jax.random.normal(keys[i], (x.shape[0], 1, 1, channels)))
    y, mean = x / 255, x.mean((1, 2, 3), keepdims=True) / 255
    y = jnp.clip(y, 1e-3, 1) ** drawn(0, 0.15)
    y = ((y - mean) * drawn(1, 0.15) + mean * drawn(2, 0.11)) * drawn(3, 0.045, 3)
    luma = (y @ jnp.array([0.299, 0.587, 0.114]))[..., None]
    grey = jax.random.bernoulli(keys[5], 0.04, (x.shape[0], 1, 1, 1))
    return jnp.clip(255 * (luma + (y - luma) * jnp.where(grey, 0, drawn(4, 0.25))), 0, 255)


def hidden(key, x):
    """A rectangle of one colour lies over a part."""
    n, rows, columns, _ = x.shape
    place, colour = jax.random.split(key)
    high, wide, top, left = jax.random.uniform(place, (4, n, 1, 1))
    high, wide, top, left = 0.1 + 0.25 * high, 0.1 + 0.35 * wide, 1.2 * top - 0.2, 1.3 * left - 0.3
    row, column = jnp.arange(rows)[None, :, None] / rows, jnp.arange(columns)[None, None] / columns
    over = (row >= top) & (row < top + high) & (column >= left) & (column < left + wide)
    return jnp.where(over[..., None], 255 * jax.random.uniform(colour, (n, 1, 1, 3)), x)


def varied(key, x):
    """The cells of a batch, each look changed in some of these ways."""
    keys = jax.random.split(key, 6)
    for number, (change, share) in enumerate(((turned, TURNED), (blurred, BLURRED), (relit, RELIT), (hidden, HIDDEN))):
        one, other = jax.random.split(keys[number])
        x = jnp.where(jax.random.bernoulli(one, share, (x.shape[0], 1, 1, 1)), change(other, x), x)
    grain = GRAIN * jax.random.uniform(keys[4], (x.shape[0], 1, 1, 1))
    return jnp.clip(x + grain * jax.random.normal(keys[5], x.shape), 0, 255)
