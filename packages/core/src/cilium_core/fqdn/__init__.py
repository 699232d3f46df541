# SPDX-License-Identifier: Apache-2.0
"""What pods have learned from DNS, for how long it holds, and which policies ask for it. Pure.

    answer → Lookups → (TTL over) → Deferred → (no connection) → forgotten
                └──────── pairs of name and address ───────┘
                                    └→ Selection: address → selectors of toFQDNs

Times are seconds since 1970, given by the caller: what is kept must mean the same after a restart.
"""
