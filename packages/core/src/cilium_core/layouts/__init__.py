# SPDX-License-Identifier: Apache-2.0
"""Record layouts shared by the C programs and Python, declared once and checked by BTF."""
