#!/usr/bin/env bash
# Compiles and links maas with `--features cuda` on a machine that has neither a GPU nor CUDA: nvcc and the libraries come
# from PyPI, into target/cuda/. Takes about eight minutes on two cores; nothing of it can run here.
#
#   scripts/check-cuda.sh             build everything
#   CUDA_COMPUTE_CAP=80 scripts/…     for another generation of GPU (90 is Hopper, 80 Ampere)
set -euo pipefail
cd "$(dirname "$0")/.."

readonly cuda_version=13.0
readonly place="$PWD/target/cuda"
readonly venv="$place/venv" links="$place/links"

say() { printf 'check-cuda: %s\n' "$*" >&2; }

# The pieces of the toolkit that nvcc, cudarc and candle's kernels ask for, and not the gigabytes of the others.
install_toolkit() {
    [[ -x "$venv/bin/python" ]] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        "nvidia-cuda-nvcc==$cuda_version.*" "nvidia-nvvm==$cuda_version.*" "nvidia-cuda-crt==$cuda_version.*" \
        "nvidia-cuda-runtime==$cuda_version.*" "nvidia-cuda-cccl==$cuda_version.*" "nvidia-cuda-nvrtc==$cuda_version.*" \
        "nvidia-cublas==$cuda_version.*" nvidia-curand
}

# Wheels hold libcublas.so.13 and no libcublas.so, which is the name that the linker looks for.
link_libraries() {
    local library found
    mkdir -p "$links"
    for library in cublas cublasLt curand nvrtc cudart; do
        found="$(find "$1/lib" -maxdepth 1 -name "lib$library.so.*" | sort | head -n 1)"
        [[ -n "$found" ]] || { say "no lib$library in $1/lib"; return 1; }
        ln -sfn "$found" "$links/lib$library.so"
    done
    # The driver's own library comes with a GPU. An empty one of its name lets the program link, and the real one answers
    # where there is a GPU.
    gcc -shared -Wl,-soname,libcuda.so.1 -o "$links/libcuda.so" -x c /dev/null
}

build() {
    local arguments=(
        "-L native=$links"
        "-C link-arg=-Wl,--unresolved-symbols=ignore-all"
        "-C link-arg=-Wl,--no-as-needed"
    )
    # A target folder of its own: these flags would otherwise rebuild everything that the ordinary build has made.
    CUDA_HOME="$1" CUDA_PATH="$1" CUDA_ROOT="$1" CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-90}" \
        PATH="$1/bin:$PATH" LD_LIBRARY_PATH="$1/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" \
        RUSTFLAGS="${arguments[*]}" CARGO_TARGET_DIR="$place/build" \
        cargo build --release --locked --features cuda
}

install_toolkit
toolkit="$(echo "$venv"/lib/python3*/site-packages/nvidia/cu13)"
[[ -x "$toolkit/bin/nvcc" ]] || { say "no nvcc in $toolkit"; exit 1; }
link_libraries "$toolkit"
build "$toolkit"

program="$place/build/release/maas"
for library in libcublas libcurand libcuda; do
    readelf --dynamic "$program" | grep -q "NEEDED.*$library" || { say "$program does not link $library"; exit 1; }
done
say "built $program"
