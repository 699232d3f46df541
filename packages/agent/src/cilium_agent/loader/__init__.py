# SPDX-License-Identifier: Apache-2.0
"""The short-lived process that compiles and loads the programs; standard library and bcc only."""
