"""Signals are heard whatever the main thread does."""

from __future__ import annotations

import os
import signal
import threading

from tapectl.serve.signals import heard

PATIENCE_S = 30.0


def test_a_signal_is_heard_while_the_main_thread_waits_and_another_gets_it() -> None:
    reacted = threading.Event()

    def kill() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGHUP)

    with heard({signal.SIGHUP: reacted.set}):
        threading.Thread(target=kill).start()
        assert reacted.wait(PATIENCE_S)


def test_each_signal_has_its_own_reaction() -> None:
    numbers: list[signal.Signals] = []
    both = threading.Event()

    def react(number: signal.Signals) -> None:
        numbers.append(number)
        if len(numbers) == 2:
            both.set()

    first, second = signal.SIGHUP, signal.SIGUSR1
    with heard({first: lambda: react(first), second: lambda: react(second)}):
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), second)
        assert both.wait(PATIENCE_S)
    assert sorted(numbers) == sorted((first, second))


def test_what_was_there_before_is_there_again() -> None:
    def handler(_number: int, _frame: object) -> None:
        return

    old = signal.signal(signal.SIGHUP, handler)
    try:
        with heard({signal.SIGHUP: lambda: None}):
            assert signal.getsignal(signal.SIGHUP) is not handler
        assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, old)
