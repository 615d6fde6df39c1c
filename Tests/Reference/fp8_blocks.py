"""FP8 as DeepSeek publishes it, for the scripts beside this file."""
import torch


def quantise(weight):
    """e4m3 with one scale per 128x128 block, and the same weight dequantised."""
    rows, columns = weight.shape
    blocks = -(-rows // 128), -(-columns // 128)
    padded = torch.zeros(blocks[0] * 128, blocks[1] * 128)
    padded[:rows, :columns] = weight
    tiles = padded.reshape(blocks[0], 128, blocks[1], 128)
    scales = tiles.abs().amax((1, 3)) / 448
    spread = scales[:, None, :, None]
    stored = (tiles / spread).to(torch.float8_e4m3fn)
    wide = (stored.float() * spread).reshape(padded.shape)[:rows, :columns]
    return stored.reshape(padded.shape)[:rows, :columns].contiguous(), scales, wide.contiguous()
