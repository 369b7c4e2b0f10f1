#!/bin/bash
# A data set on every GPU of one machine, or of several, started by torchrun: process RANK makes part RANK + 1.
#     NODES=2 NODE=0 HEAD=node0:29500 bash recipes/cluster/torchrun.sh       on each node with its NODE
# Options after the script's name are passed on; of two the last counts. OUT is the folder, GPUS the processes of a node.
# Without the -- torchrun takes --n for an option of its own.
# On one machine `noiseprompt collect ... --engine local` does the same without torchrun, and what a worker that dies leaves
# is made by the others at once; here by the next run. The price on paper is that of slurm-array.sbatch: 17 H100 hours for
# 100,000 SDXL pairs at 41 rows, some two hours on a machine with eight. Not run here on GPUs.
set -euo pipefail
exec torchrun --nnodes "${NODES:-1}" --node_rank "${NODE:-0}" --nproc_per_node "${GPUS:-8}" \
    --rdzv_backend c10d --rdzv_endpoint "${HEAD:-localhost:29500}" \
    -m -- noiseprompt collect --out "${OUT:-npd}" --part auto \
    --model stabilityai/stable-diffusion-xl-base-1.0 --dtype bfloat16 \
    --prompts prompts.csv --column prompt --scorers hpsv2.1 --num_inference_steps 10 --guidance_scale 5.5 --scheduler ddim "$@"
