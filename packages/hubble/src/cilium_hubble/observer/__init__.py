# SPDX-License-Identifier: Apache-2.0
"""The Observer API over the store."""
