# SPDX-License-Identifier: Apache-2.0
"""Vocabulary shared by every package: labels, identities, layouts, CRD models.

Pure, but for `process`, which only daemons import.
"""
