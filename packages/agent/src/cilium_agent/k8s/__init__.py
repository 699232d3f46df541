# SPDX-License-Identifier: Apache-2.0
"""Kubernetes access: a thin typed client, list/watch and informers."""
