# SPDX-License-Identifier: Apache-2.0
"""Runs `cilium status`: once, or until everything is ready.

Owns the event loop and the terminal. While it waits on a terminal it draws the status over itself;
elsewhere it says on stderr what it waits for, whenever that changes.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import dataclass

from cilium_cli.errors import StatusError
from cilium_cli.kube.client import Client
from cilium_cli.kube.kubeconfig import Access
from cilium_cli.status.collect import Collector
from cilium_cli.status.model import Status, to_json
from cilium_cli.status.render import render
from cilium_cli.status.tabwriter import visible

POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class StatusOptions:
    """The flags of `cilium status`; wait_seconds is how long --wait waits."""

    namespace: str = "kube-system"
    wait: bool = False
    wait_seconds: float = 300.0
    ignore_warnings: bool = False
    workers: int = 5
    json: bool = False
    interactive: bool = True
    verbose: bool = False


class Screen:
    """Standard output, with the last drawn block to draw over."""

    def __init__(self, options: StatusOptions) -> None:
        self._tty = sys.stdout.isatty()
        self._redraw = self._tty and options.interactive and not options.json
        self._options = options
        self._lines = 0
        self._said = ""

    def text(self, status: Status) -> str:
        """Return the status in the format that was asked for."""
        if self._options.json:
            return to_json(status) + "\n"
        return render(status, colour=self._tty, verbose=self._options.verbose)

    def progress(self, status: Status, waiting_for: list[str]) -> None:
        """Show a status that is not ready yet."""
        if self._redraw:
            self._erase()
            text = self.text(status)
            width = shutil.get_terminal_size((80, 24)).columns
            lines = text.splitlines()
            self._lines = sum(max(1, -(-visible(line) // width)) for line in lines)
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        said = waiting_for[0] if waiting_for else ""
        if said != self._said:
            more = f" (and {len(waiting_for) - 1} more)" if len(waiting_for) > 1 else ""
            print(f"waiting: {said}{more}", file=sys.stderr, flush=True)
            self._said = said

    def final(self, status: Status) -> None:
        """Show the status that is printed in the end."""
        self._erase()
        sys.stdout.write(self.text(status))
        sys.stdout.flush()

    def _erase(self) -> None:
        if self._lines:
            sys.stdout.write("\033[A\033[2K" * self._lines)
            self._lines = 0


def run_status(access: Access, options: StatusOptions) -> None:
    """Print the status. StatusError when parts could not be asked, or waiting took too long."""
    asyncio.run(_run(access, options))


async def _run(access: Access, options: StatusOptions) -> None:
    screen = Screen(options)
    async with Client(access) as client:
        collector = Collector(client, options.namespace, options.workers)
        status = (
            await _wait(collector, options, screen) if options.wait else await collector.collect()
        )
    screen.final(status)
    if status.collection_errors:
        raise StatusError(f"status check failed: [{', '.join(status.collection_errors)}]")


async def _wait(collector: Collector, options: StatusOptions, screen: Screen) -> Status:
    """Return the first status that is ready. StatusError after `wait_seconds`."""
    last: Status | None = None
    try:
        async with asyncio.timeout(options.wait_seconds):
            while True:
                last = await collector.collect()
                problems = last.problems(warnings=not options.ignore_warnings)
                if not problems:
                    return last
                screen.progress(last, problems)
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        if last:
            sys.stderr.write(screen.text(last))
        raise StatusError(
            f"Unable to determine status:  timeout while waiting for status to become successful: "
            f"not ready after {options.wait_seconds:g} s"
        ) from error
