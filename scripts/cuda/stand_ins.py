"""Writes link-time stand-ins for NVIDIA's libraries: libcuda, libcublas, libcublasLt, libcurand and libnvrtc.

    python3 scripts/cuda/stand_ins.py CUDARC_FOLDER OUT

Each is a static archive in which every function opens the real library when it is first called. A program linked with
them starts on a machine without a driver, where the functions return an error. The names of the functions are read from
the bindings of the crate cudarc, of which CUDARC_FOLDER is the source. x86-64 only; needs gcc and ar.

Of cuBLAS and NVRTC those of CUDA 13 are taken, else those of CUDA 12 (which nobody has tried). A
library is looked for where the system's loader looks (LD_LIBRARY_PATH among them), in the folder that the environment
variable CUDA_LIBRARIES names, in $CUDA_HOME/lib64, $CUDA_PATH/lib64 and /usr/local/cuda/lib64. One that is not found is
reported on standard error; the driver, whose absence is ordinary, only where CUDA_LIBRARIES_VERBOSE is set.
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple


class Library(NamedTuple):
    """A library, by the module of cudarc that binds it."""

    module: str
    name: str
    files: list[str]
    # What its functions return where it is missing.
    status: int


LIBRARIES = [
    Library("driver", "cuda", ["libcuda.so.1"], 34),  # CUDA_ERROR_STUB_LIBRARY
    Library("cublas", "cublas", ["libcublas.so.13", "libcublas.so.12", "libcublas.so"], 1),  # CUBLAS_STATUS_NOT_INITIALIZED
    Library("cublaslt", "cublasLt", ["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"], 1),
    Library("curand", "curand", ["libcurand.so.10", "libcurand.so"], 203),  # CURAND_STATUS_INITIALIZATION_FAILED
    Library("nvrtc", "nvrtc", ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"], 11),  # NVRTC_ERROR_INTERNAL_ERROR
]

# Finds a function of the real library.
RESOLVER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const files[] = { @FILES@ };
static void *library;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int missing(void) { return @STATUS@; }
static const char *missing_text(void) { return "lib@NAME@ was not found"; }

static void *open_in(const char *folder, const char *below, const char *file) {
    char path[4096];
    if (!folder || !*folder) return NULL;
    snprintf(path, sizeof path, "%s%s/%s", folder, below, file);
    return dlopen(path, RTLD_NOW | RTLD_GLOBAL);
}

static void open_library(void) {
    for (size_t i = 0; i < sizeof files / sizeof *files && !library; i++) {
        (library = dlopen(files[i], RTLD_NOW | RTLD_GLOBAL))
            || (library = open_in(getenv("CUDA_LIBRARIES"), "", files[i]))
            || (library = open_in(getenv("CUDA_HOME"), "/lib64", files[i]))
            || (library = open_in(getenv("CUDA_PATH"), "/lib64", files[i]))
            || (library = open_in("/usr/local/cuda", "/lib64", files[i]));
    }
    if (!library && (@IS_REPORTED@ || getenv("CUDA_LIBRARIES_VERBOSE")))
        fprintf(stderr, "cannot load %s: set LD_LIBRARY_PATH or CUDA_LIBRARIES to its folder\n", files[0]);
}

__attribute__((visibility("hidden"))) void *stand_in_@NAME@(const char *function) {
    pthread_once(&once, open_library);
    void *found = library ? dlsym(library, function) : NULL;
    if (found) return found;
    if (library) fprintf(stderr, "%s has no %s\n", files[0], function);
    int is_text = strstr(function, "StatusString") || strstr(function, "StatusName")
        || !strcmp(function, "nvrtcGetErrorString");
    return is_text ? (void *)missing_text : (void *)missing;
}
"""

# Called with the function's name in r11 and the place of its address in r10: finds it, keeps its address and goes
# on there, with every register that may hold an argument as it was.
FIRST_CALL = """
    .section .text.first_call_@NAME@,"ax",@progbits
    .hidden stand_in_@NAME@
    .type first_call_@NAME@,@function
first_call_@NAME@:
    .cfi_startproc
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    andq $-16, %rsp
    subq $192, %rsp
@SAVE@
    movq %r11, %rdi
    call stand_in_@NAME@
    movq %rax, %r11
@RESTORE@
    movq %r11, (%r10)
    leave
    .cfi_def_cfa %rsp, 8
    jmpq *%r11
    .cfi_endproc
"""

FUNCTION = """
    .section .text.@FUNCTION@,"ax",@progbits
    .globl @FUNCTION@
    .hidden @FUNCTION@
    .type @FUNCTION@,@function
@FUNCTION@:
    jmpq *.Laddress_@FUNCTION@(%rip)
.Lfirst_@FUNCTION@:
    leaq .Lname_@FUNCTION@(%rip), %r11
    leaq .Laddress_@FUNCTION@(%rip), %r10
    jmp first_call_@NAME@
    .size @FUNCTION@, .-@FUNCTION@
    .section .data.@FUNCTION@,"aw",@progbits
    .p2align 3
.Laddress_@FUNCTION@: .quad .Lfirst_@FUNCTION@
    .section .rodata.@FUNCTION@,"a",@progbits
.Lname_@FUNCTION@: .asciz "@FUNCTION@"
"""

SAVED = [("movq", name) for name in ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax", "r10"]]
SAVED += [("movaps", f"xmm{number}") for number in range(8)]


def filled(template: str, **values: object) -> str:
    for name, value in values.items():
        template = template.replace(f"@{name}@", str(value))
    return template


def saving() -> dict[str, str]:
    """The lines that keep registers on the stack, and those that bring them back."""
    save, restore, offset = [], [], 0
    for move, register in SAVED:
        save.append(f"    {move} %{register}, {offset}(%rsp)")
        restore.append(f"    {move} {offset}(%rsp), %{register}")
        offset += 8 if move == "movq" else 16
    return {"SAVE": "\n".join(save), "RESTORE": "\n".join(restore)}


def write(library: Library, cudarc: Path, out: Path) -> None:
    bindings = (cudarc / "src" / library.module / "sys" / "mod.rs").read_text()
    functions = sorted(set(re.findall(r"^\s*fn ((?:cu|nvrtc)\w+)\(", bindings, re.MULTILINE)))
    if not functions:
        raise SystemExit(f"stand_ins.py: no functions in cudarc's module `{library.module}`")
    resolver = filled(
        RESOLVER,
        FILES=", ".join(f'"{file}"' for file in library.files),
        STATUS=library.status,
        NAME=library.name,
        IS_REPORTED=int(library.name != "cuda"),
    )
    calls = filled(FIRST_CALL, NAME=library.name, **saving())
    calls += "".join(filled(FUNCTION, FUNCTION=function, NAME=library.name) for function in functions)
    calls += '    .section .note.GNU-stack,"",@progbits\n'
    archive = out / f"lib{library.name}.a"
    archive.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in [("resolver.c", resolver), ("calls.S", calls)]:
            source = Path(folder, name)
            source.write_text(text)
            options = ["-O2", "-fPIC", "-ffunction-sections", "-fdata-sections"]
            subprocess.run(["gcc", *options, "-c", source, "-o", source.with_suffix(".o")], check=True)
        objects = [Path(folder, "calls.o"), Path(folder, "resolver.o")]
        subprocess.run(["ar", "rcs", archive, *objects], check=True)
    print(f"{archive.name}: {len(functions)} functions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cudarc", type=Path, metavar="CUDARC_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for library in LIBRARIES:
        write(library, args.cudarc, args.out)


if __name__ == "__main__":
    main()
