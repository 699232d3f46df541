# SPDX-License-Identifier: Apache-2.0
"""`cilium status`: what runs, whether it is well, and what is not there yet."""
