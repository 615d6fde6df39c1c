#!/usr/bin/env python3
"""Runs llama.cpp's own converter on a checkpoint without a tokenizer, as random models are.

Usage: llama_cpp_convert.py LLAMA_CPP_SOURCE CHECKPOINT --outtype bf16 --outfile FILE
"""
import pathlib
import runpy
import sys

source = pathlib.Path(sys.argv.pop(1))
sys.path[:0] = [str(source), str(source / "gguf-py")]

from conversion.deepseek import DeepseekV2Model  # noqa: E402

DeepseekV2Model.set_vocab = lambda self: self._set_vocab_none()
sys.argv[0] = str(source / "convert_hf_to_gguf.py")
runpy.run_path(sys.argv[0], run_name="__main__")
