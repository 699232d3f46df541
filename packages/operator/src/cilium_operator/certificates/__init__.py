# SPDX-License-Identifier: Apache-2.0
"""Certificates of Hubble: made, kept in Secrets, and renewed while everything runs."""
