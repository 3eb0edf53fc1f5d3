"""Make one function of the client raise, whoever calls it and by whichever name they know it.

What a function does is its code object. Here that is exchanged, so that a name imported elsewhere, a method bound
before and a closure made later all raise. No list of functions has to be kept: they are found by walking the package.
"""

from __future__ import annotations

import functools
import gc
import importlib
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

import gradvitals

MARK = "what this code does instead"


@dataclass(frozen=True, eq=False)
class Place:
    """One function of the client: a function of a module, a method, a property, or one made inside of those."""

    name: str  # such as "monitor.Monitor._measure", or "step_hook.StepHook._wrap.measured"
    code: CodeType
    outer: FunctionType  # itself, or the outermost of those it is made in
    path: tuple[CodeType, ...]  # from the code of ``outer`` to this one


def places_of_the_client(without: frozenset[str]) -> list[Place]:
    """Every function of every module of the package, except for the modules named."""
    names = [info.name for info in pkgutil.walk_packages(gradvitals.__path__, "gradvitals.")]
    places: list[Place] = []
    for name in names:
        short = name.removeprefix("gradvitals.")
        if not any(short == module or short.startswith(f"{module}.") for module in without):
            module = importlib.import_module(name)
            for path, function in _functions(vars(module), module, short):
                places += _with_inner(path, function, (function.__code__,))
    return places


def place_named(name: str) -> Place:
    """The one function of this name."""
    (place,) = (place for place in places_of_the_client(frozenset({"cli", "integrations"})) if place.name == name)
    return place


def _functions(names: dict[str, Any], module: ModuleType, path: str) -> Iterator[tuple[str, FunctionType]]:
    for name, value in names.items():
        if isinstance(value, type) and value.__module__ == module.__name__ and value.__name__ == name:
            if not getattr(value, "_is_protocol", False):  # which only describes
                yield from _functions(dict(vars(value)), module, f"{path}.{name}")
            continue
        parts = (value.fget, value.fset) if isinstance(value, property) else (value,)
        for part, end in zip(parts, ("", ".setter"), strict=False):
            if isinstance(part, functools.cached_property):
                part = part.func
            part = getattr(part, "__func__", part)
            while hasattr(part, "__wrapped__"):
                part = part.__wrapped__
            if isinstance(part, FunctionType) and part.__code__.co_filename == module.__file__:
                yield f"{path}.{name}{end}", part
                for argument, default in (part.__kwdefaults__ or {}).items():
                    if isinstance(default, FunctionType):
                        yield f"{path}.{name}.{argument}", default


def _with_inner(name: str, outer: FunctionType, path: tuple[CodeType, ...]) -> Iterator[Place]:
    yield Place(name, path[-1], outer, path)
    for constant in path[-1].co_consts:
        if isinstance(constant, CodeType) and (constant.co_name[0] != "<" or constant.co_name == "<lambda>"):
            yield from _with_inner(f"{name}.{constant.co_name}", outer, (*path, constant))


@dataclass
class Injection:
    """A fault that is raised at one place as long as ``injected`` lasts."""

    place: Place
    error: BaseException
    threads: set[str] = field(default_factory=set)  # where it was raised
    raised: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.raised.set()
        raise self.error.with_traceback(None)


@contextmanager
def injected(injection: Injection) -> Iterator[None]:
    """Have the place raise, also where a closure with its code was made before."""
    place = injection.place
    raising = _raising(place.code, injection)
    code = raising
    for outer, inner in zip(place.path[-2::-1], place.path[:0:-1], strict=True):
        code = _with_constant(outer, inner, code)
    made = [] if len(place.path) == 1 else _functions_with(place.code)
    place.outer.__code__ = code
    for function in made:
        function.__code__ = raising
    try:
        yield
    finally:
        place.outer.__code__ = place.path[0]
        for function in made:
            function.__code__ = place.code


def _functions_with(code: CodeType) -> list[FunctionType]:
    return [user for user in gc.get_referrers(code) if isinstance(user, FunctionType)]


def _raising(code: CodeType, raise_fault: Callable[[], None]) -> CodeType:
    """Code with the closure of ``code`` that takes any arguments and calls ``raise_fault``."""
    variables = ", ".join(code.co_freevars)
    source = f"""
def outer({variables}):
    def inner(*arguments, **named):
        lambda: ({variables})
        raise_fault = {MARK!r}
        raise_fault()
"""
    (outer,) = (part for part in compile(source, "<injected>", "exec").co_consts if isinstance(part, CodeType))
    (inner,) = (part for part in outer.co_consts if isinstance(part, CodeType))
    assert inner.co_freevars == code.co_freevars
    mark = next(constant for constant in inner.co_consts if constant == MARK)
    return _with_constant(inner, mark, raise_fault)


def _with_constant(code: CodeType, before: object, after: object) -> CodeType:
    return code.replace(co_consts=tuple(after if constant is before else constant for constant in code.co_consts))


class Listener:
    """Hears which places are reached while it is ``listening``, in threads begun inside of ``everywhere``."""

    def __init__(self, places: list[Place]) -> None:
        self._listening = False
        self._places = {place.code: place for place in places}
        self._reached: dict[str, set[Place]] = {}

    def reached_in(self, thread_name: str) -> set[Place]:
        """The places that threads of this name have reached."""
        return self._reached.get(thread_name, set())

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """Be asked at each call."""
        threading.setprofile(self._hear)
        sys.setprofile(self._hear)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]  # which takes it

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear what is called."""
        self._listening = True
        try:
            yield
        finally:
            self._listening = False

    def _hear(self, frame: Any, event: str, _: object) -> None:
        if self._listening and event == "call" and frame.f_code in self._places:
            self._reached.setdefault(threading.current_thread().name, set()).add(self._places[frame.f_code])
