#!/usr/bin/env python3
"""Look for mistakes in the C code: by reading it, and by running the test suite with it under sanitizers.

    sanitize.py                      all of it
    sanitize.py analyze              gcc -fanalyzer, and clang --analyze where there is clang
    sanitize.py test [ARGUMENT...]   build, plant mistakes that must be found, run the suite; arguments for pytest

The exit status is 0 when nothing was found.  Called by `make sanitize`; needs gcc and its sanitizers, and root.

What runs how:

- The extension module: AddressSanitizer and UndefinedBehaviorSanitizer, in a Python that has their libraries loaded
  before all others.  What it hands to the kernel is checked by checked.h, which the sanitizers do not see.
- Its part between clone and execve shares the parent's memory, and with it the shadow memory: reading and writing
  that needs no libc, so AddressSanitizer works there.  Three things do not, and are seen to: frames that nobody
  returns from leave marks on a stack that is used again (spawn.c takes them away); the library's care for functions
  that do not return looks at the thread's stack, which is another (they are compiled as if they did); and a report
  of UndefinedBehaviorSanitizer would format text (a trap instead: the child dies by SIGILL, and its test fails).
- A program that runs in containers has no libc there: UndefinedBehaviorSanitizer with traps alone.  The others, and
  for its own tests (tests/csrc) that one too, are built as ordinary programs under both sanitizers, by a compiler
  that is this file; their calls are checked as well.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path

import build_programs
import run_tests
from sanitizer import planted

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent / "sanitizer"
BUILD = ROOT / "build/sanitize"
#: A copy of the sources, where the instrumented parts are built in place.
TREE = BUILD / "tree"
VENV = BUILD / "venv"
#: The sanitizers write a file for each process that has something to report.
REPORTS = BUILD / "reports"

CHECKS = "-fsanitize=address,undefined,bounds-strict,float-divide-by-zero,float-cast-overflow"
#: As build_native.py and build_programs.py compile, but for what makes reports unreadable.
COMMON = ["-std=gnu11", "-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", CHECKS]
MODULE = [*COMMON, "-fPIC", "-fno-stack-protector", "-fno-tree-loop-distribute-patterns"]
#: What runs between clone and execve.
CHILD = ["-fsanitize-undefined-trap-on-error", "-D_Noreturn=", "-fno-ipa-pure-const"]
CHILD_SOURCES = {"spawn.c", "child.c", "operations.c", "monitor.c", "monitor_start.c"}
TRAPS = [
    "-fsanitize=undefined,bounds-strict",
    "-fsanitize-undefined-trap-on-error",
    "-fno-sanitize-recover=all",
]
#: The programs that run where there is no libc; the others run beside the host process alone.
IN_CONTAINERS = {"init"}
#: A compiler of programs for the host.
COMPILER = [sys.executable, str(Path(__file__).resolve()), "cc"]
#: Of freestanding.c in an ordinary program.
RENAMED = ["_start", "pc_clone_call", "memcpy", "memmove", "memset", "memcmp"]

OPTIONS = ":".join(
    [
        f"log_path={REPORTS}/report",
        "detect_leaks=0",  # of an interpreter, which never frees all
        "allocator_may_return_null=1",  # a test may ask for too much
        "disable_coredump=0",  # which is a limit that tests look at
        "handle_sigill=1",
        "fast_unwind_on_fatal=1",  # the other way goes over the end of a child's stack
        "print_stacktrace=1",
        "malloc_context_size=10",
        "quarantine_size_mb=32",
    ]
)

#: Tests that cannot pass here, and why that is no loss.
DESELECTED = {
    "tests/csrc/test_reaper.py::TestProcesses::test_many_at_once": "bounds the memory, which the sanitizer uses",
    "tests/csrc/test_reaper_socket.py::test_programs_are_small_and_static": "these are neither",
    "tests/kernel/test_process.py::test_memory_is_the_programs_own_or_unknown": "the interpreter is larger than the program",
    "tests/kernel/test_spawn.py::test_no_memory_for_the_stacks_is_told": "bounds the address space, of which the sanitizer has terabytes",
    "tests/unit/test_benchmarks.py::test_the_floor_compiles_and_refuses_what_it_does_not_know": "is not the library's code",
    "tests/unit/test_tarstream.py::test_a_decompression_bomb_is_stopped_early": "looks at the clock",
}


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


# -- reading ---------------------------------------------------------------------------------------


#: Checkers of clang beyond its default; one of the default wants functions of C11's Annex K, which nobody has.
CHECKERS = [
    "-analyzer-checker=core,unix,security,deadcode,nullability,alpha.security.ArrayBoundV2",
    "-analyzer-disable-checker=security.insecureAPI.DeprecatedOrUnsafeBufferHandling",
]


def analyze() -> int:
    """Have the compilers think about every source; the number of findings."""
    sources = sorted((ROOT / "csrc").glob("*.c"))
    commands = {"gcc -fanalyzer": ["gcc", "-fanalyzer", "-c", "-o", "/dev/null"]}
    if shutil.which("clang"):
        told = [word for checker in CHECKERS for word in ("-Xclang", checker)]
        unseen = ["-include", str(HERE / "unseen.h")]
        commands["clang --analyze"] = ["clang", "--analyze", "--analyzer-output", "text", *told, *unseen]
    else:
        say("clang --analyze: left out, there is no clang (apt install clang)")
    findings = 0
    for name, command in commands.items():
        found = "".join(_analysis(command, source) for source in sources)
        count = found.count("warning:") + found.count("error:")
        say(f"{name}: {len(sources)} sources, {count} findings")
        print(found, end="")
        findings += count
    return findings


def _analysis(command: list[str], source: Path) -> str:
    programs = {name for names in build_programs.PROGRAMS.values() for name in names}
    flags = ["-ffreestanding", "-fno-builtin"] if source.name in programs else []
    command = [*command, "-O1", "-std=gnu11", *flags, f"-I{ROOT}/csrc", str(source)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


# -- building --------------------------------------------------------------------------------------


def build() -> None:
    """Make the instrumented tree and its interpreter anew."""
    shutil.rmtree(BUILD, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    REPORTS.chmod(0o1777)  # tests run programs as other users
    shutil.copytree(
        ROOT, TREE, symlinks=True, ignore=lambda _, names: run_tests.NOT_COPIED.intersection(names)
    )
    _watch_calls(TREE / "csrc/rawsys.h")
    _build_module()
    for name in build_programs.PROGRAMS:
        _build_program(name, TREE, TREE / build_programs.PLACE / name, hosted=name not in IN_CONTAINERS)
    _build_interpreter()


def _build_program(name: str, tree: Path, target: Path, *, hosted: bool) -> None:
    build_programs.ROOT = tree
    os.environ["CC"] = shlex.join(COMPILER if hosted else ["gcc", *TRAPS])
    build_programs.build(name, target)


def _watch_calls(header: Path) -> None:
    """Put checked.h between the system calls and those who make them."""
    text = header.read_text()
    anchor = "static inline long pc_raw0(long nr)"
    assert text.count("pc_raw6(long nr") == 2 and text.count(anchor) == 1, "rawsys.h has changed"  # noqa: S101, PT018
    text = text.replace("pc_raw6(long nr", "pc_unchecked6(long nr")
    checked = f'#ifdef __SANITIZE_ADDRESS__\n#include "{HERE}/checked.h"\n#else\n#define pc_raw6 pc_unchecked6\n#endif\n\n'
    header.write_text(text.replace(anchor, checked + anchor))


def _run(command: list[str], **options: object) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}:\n{done.stdout}{done.stderr}")


def _build_module() -> None:
    sys.path.insert(0, str(TREE / "csrc"))
    from build_native import ffibuilder

    objects = BUILD / "objects"
    objects.mkdir()
    ffibuilder.emit_c_code(str(objects / "_native.c"))
    *_, keywords = ffibuilder._assigned_source
    include = [f"-I{TREE / 'csrc'}", f"-I{sysconfig.get_path('include')}", "-DPy_LIMITED_API=0x030a0000"]
    macros = [f"-D{name}={value}" for name, value in keywords["define_macros"]]
    made = []
    for source in (*(TREE / name for name in keywords["sources"]), objects / "_native.c"):
        more = CHILD if source.name in CHILD_SOURCES else []
        made.append(str(objects / f"{source.stem}.o"))
        _run(["gcc", "-c", *MODULE, *more, *include, *macros, str(source), "-o", made[-1]])
    target = TREE / "pycontainer/_native.abi3.so"
    target.unlink(missing_ok=True)
    _run(["gcc", "-shared", CHECKS, *made, *keywords["extra_link_args"], "-o", str(target)])


def _build_interpreter() -> None:
    """A virtual environment whose Python has the sanitizers' libraries in it; its packages are those of .venv."""
    libraries = [
        subprocess.run(
            ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    (VENV / "bin").mkdir(parents=True)
    real = os.path.realpath(sys.executable)
    (VENV / "pyvenv.cfg").write_text(f"home = {Path(real).parent}\n")
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(VENV)}))
    packages.mkdir(parents=True)
    names = ("LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS", "PYTHONMALLOC")
    forget = f"import os; [os.environ.pop(name, None) for name in {names!r}]"
    (packages / "sanitize.pth").write_text(f"{sysconfig.get_path('purelib')}\n{forget}\n")
    words = {
        "PC_LIBRARIES": ":".join(map(os.path.realpath, libraries)),
        "PC_SANITIZER_OPTIONS": OPTIONS,
        "PC_EXECUTABLE": str(VENV / "bin/python"),
        "PC_PYTHON": real,
    }
    defined = [f'-D{name}="{value}"' for name, value in words.items()]
    _run(["gcc", "-O1", *defined, str(HERE / "python.c"), "-o", words["PC_EXECUTABLE"]])


def compile_hosted(arguments: list[str]) -> int:
    """As a compiler of static programs: makes ordinary ones under both sanitizers."""
    target = Path(arguments[arguments.index("-o") + 1])
    sources = [Path(word) for word in arguments if word.endswith(".c")]
    include = [word for word in arguments if word.startswith("-I")]
    flags = [
        *COMMON,
        *build_programs.FREESTANDING,
        "-Os",
        "-DPC_HOSTED",
        f'-DPC_SANITIZER_OPTIONS="{OPTIONS}"',
    ]
    objects = []
    for source in (*sources, HERE / "hosted.c"):
        objects.append(f"{target}.{source.stem}.o")
        more = CHILD if source.name in CHILD_SOURCES else []
        _run(["gcc", "-c", *flags, *more, *include, str(source), "-o", objects[-1]])
        if source.name == "freestanding.c":
            renames = [
                word
                for name in RENAMED
                for word in ("--redefine-sym", f"{name}=pc_freestanding_{name.removeprefix('pc_')}")
            ]
            _run(["objcopy", *renames, objects[-1]])
    _run(["gcc", CHECKS, *objects, "-o", str(target)])
    for name in objects:
        os.unlink(name)
    return 0


# -- running ---------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """Of what runs in the instrumented tree."""
    return {**run_tests.environment(TREE, "root"), "CC": shlex.join(COMPILER), "SANITIZED": "1"}


def reports() -> Iterator[str]:
    """What the sanitizers have reported since the last time, each with its first lines."""
    for path in sorted(REPORTS.iterdir()):
        yield f"{path.name}:\n" + "\n".join(path.read_text(errors="replace").splitlines()[:40])
        path.unlink()


def plant() -> int:
    """Make the mistakes of planted.py; how many were not found."""
    missed = []
    for name, (words, code) in planted.IN_MODULE.items():
        _python(planted.PREAMBLE + textwrap.dedent(code), str(BUILD))
        if not any(words in report for report in list(reports())):
            missed.append(name)
    for name, (number, code) in planted.IN_CHILD.items():
        if _python(planted.PREAMBLE + textwrap.dedent(code), str(BUILD)).split() != [str(int(number))]:
            missed.append(name)
    mutants = BUILD / "mutants"
    shutil.copytree(TREE / "csrc", mutants / "csrc")
    for name, (right, wrong) in planted.MUTANTS.items():
        source = mutants / "csrc" / name
        assert source.read_text().count(right) == 1, f"{name} has changed: planted.py is to follow"  # noqa: S101
        source.write_text(source.read_text().replace(right, wrong))
    for name, program, hosted in (("reaper", mutants / "reaper", True), ("init", mutants / "init", False)):
        _build_program(name, mutants, program, hosted=hosted)
    list(reports())
    _python(planted.FILL_REGISTRY, str(mutants / "reaper"))
    if not any("pc_registry_add" in report for report in list(reports())):
        missed.append("a table of a program is too small")
    status = subprocess.run([mutants / "init", "9" * 30, "0", "--", "x"], check=False).returncode
    if status != -signal.SIGILL:
        missed.append("a number of a program without libc overflows")
    count = len(planted.IN_MODULE) + len(planted.IN_CHILD) + len(planted.MUTANTS)
    say(
        f"planted: {count} mistakes, {count - len(missed)} found"
        + "".join(f"; not: {name}" for name in missed)
    )
    return len(missed)


def _python(code: str, argument: str) -> str:
    command = [VENV / "bin/python", "-c", code, argument]
    return subprocess.run(
        command, cwd=TREE, env=environment(), stdout=subprocess.PIPE, text=True, check=False
    ).stdout


def suite(arguments: list[str]) -> int:
    """Run the tests; the number of things that are wrong."""
    left_out = [word for name in DESELECTED for word in ("--deselect", name)]
    command = run_tests.pytest(VENV / "bin/python", "root", [*left_out, *arguments])
    say(f"suite: {shlex.join(command[command.index('-m') :])}")
    done = subprocess.run(command, cwd=TREE, env=environment(), stdin=subprocess.DEVNULL, check=False)
    found = list(reports())
    print("".join(f"{each}\n" for each in found), end="")
    say(f"suite: exit status {done.returncode}, {len(found)} reports of the sanitizers")
    return len(found) + (done.returncode != 0)


def main(arguments: list[str]) -> int:
    """Do what the first argument says; the exit status."""
    if arguments[:1] == ["cc"]:
        return compile_hosted(arguments[1:])
    if arguments[:1] not in ([], ["analyze"], ["test"]):
        raise SystemExit(__doc__)
    wrong = 0
    if arguments[:1] != ["test"]:
        wrong += analyze()
    if arguments[:1] != ["analyze"]:
        build()
        wrong += plant()
        wrong += suite(arguments[1:])
    say(f"sanitize: {wrong} findings")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
