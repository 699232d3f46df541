# SPDX-License-Identifier: Apache-2.0
"""`hubble`, the command: asks a server and prints as upstream's does."""
