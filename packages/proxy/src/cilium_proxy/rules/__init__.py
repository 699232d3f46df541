# SPDX-License-Identifier: Apache-2.0
"""The rule sets that a proxy holds, and how they outlive its process. No network here."""
