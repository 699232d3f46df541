# SPDX-License-Identifier: Apache-2.0
"""What every daemon does at its start: settings, logs, the way to the API server.

The one room of core that does I/O. The rest of core does not import it; who does needs the extra
`cilium-core[process]`, or for `settings` and `logs` alone structlog.
"""
