# SPDX-License-Identifier: Apache-2.0
"""What the keeper needs of the rooms around it, and what stands there when one is absent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from cilium_core.addresses import Network
from cilium_core.labels import LabelSet
from cilium_core.policy.redirects import At, RuleSet
from cilium_core.policy.tables import Step, Tables


class PolicyKernel(Protocol):
    """The policy maps. Calls return when the kernel has it, or raise and may have done a part."""

    @property
    def tables(self) -> Tables:
        """What the kernel's tables hold, whatever became of the last `apply`."""

    def records(self) -> tuple[Mapping[int, bytes], Mapping[int, bytes]]:
        """Return which content the numbers of bits, and of policies, stand for."""

    def revision(self) -> int:
        """Return the highest revision that the kernel knows."""

    def record(
        self, bits: Mapping[int, bytes | None], policies: Mapping[int, bytes | None]
    ) -> None:
        """Store (None: forget) which content a number stands for."""

    def apply(self, steps: Sequence[Step]) -> object:
        """Write the steps in their order."""

    def set_revision(self, revision: int) -> None:
        """Have every endpoint's connections judged again: they were made under an older one."""


class Leading(Protocol):
    """Where L7 rules lead connections: `proxies.rulesets.RuleSets`."""

    @property
    def waiting(self) -> bool:
        """Whether `after_rows` is due again in a while."""

    def take_in(self, changes: Mapping[At, RuleSet | None]) -> None:
        """Take in what is wanted."""

    def before_rows(self) -> None:
        """Lead where proxies listen, before rows lead anywhere."""

    def after_rows(self) -> None:
        """Lead nowhere where no row does."""

    def adopted_all(self) -> None:
        """Say that all that is wanted was taken in."""


class Nowhere:
    """For who has no proxies: what L7 rules govern is dropped."""

    waiting = False

    def take_in(self, changes: Mapping[At, RuleSet | None]) -> None: ...

    def before_rows(self) -> None: ...

    def after_rows(self) -> None: ...

    def adopted_all(self) -> None: ...


class Prefixes(Protocol):
    """The ipcache, as far as prefixes of policies go."""

    def identities(self, prefixes: Iterable[Network]) -> Mapping[Network, int]:
        """Return whose the prefixes' addresses are now, by the longest row that covers each."""

    def show(self, numbers: Mapping[Network, int]) -> None:
        """Make these rows, longest prefixes first; written when the call returns."""

    def hide(self, prefixes: Sequence[Network]) -> None:
        """Take rows away; gone when the call returns."""


class Names(Protocol):
    """Addresses that DNS gave for names of policies: `fqdn.names.Names`."""

    @property
    def labels(self) -> Mapping[int, LabelSet]:
        """The labels of their identities."""

    def select(self, selectors: Iterable[str]) -> None:
        """Take in what policies ask for."""

    def widen(self, prefixes: Iterable[Network] | None) -> None:
        """Want what old and new policies ask for; None: prefixes are as they were."""

    def narrow(self, prefixes: Iterable[Network] | None) -> None:
        """Want what policies ask for now."""

    def take_fresh(self) -> Mapping[int, LabelSet]:
        """Return new identities, once."""

    def unsettled(self) -> Mapping[Network, int]:
        """Return the rows that wait whose identities have no bits in the kernel yet."""

    def show(self) -> None:
        """Write the rows that wait; their identities have their bits."""

    def take_spare(self) -> Iterable[int]:
        """Return identities that no row has any more, once."""

    def forget(self, endpoint: int) -> None:
        """Forget what an endpoint was answered."""


class Nameless:
    """For who has no DNS proxy: names stand for nobody."""

    labels: Mapping[int, LabelSet] = {}

    def select(self, selectors: Iterable[str]) -> None: ...

    def widen(self, prefixes: Iterable[Network] | None) -> None: ...

    def narrow(self, prefixes: Iterable[Network] | None) -> None: ...

    def take_fresh(self) -> Mapping[int, LabelSet]:
        return {}

    def unsettled(self) -> Mapping[Network, int]:
        return {}

    def show(self) -> None: ...

    def take_spare(self) -> Iterable[int]:
        return ()

    def forget(self, endpoint: int) -> None: ...
