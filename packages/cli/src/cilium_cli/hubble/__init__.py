# SPDX-License-Identifier: Apache-2.0
"""`cilium hubble`: a way to relay from where the user is."""
