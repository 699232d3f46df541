# SPDX-License-Identifier: Apache-2.0
"""The test pod: echo and HTTP servers, and a client that tries them and prints JSON lines.

Standard library only, so that the image is small and a pod starts at once.
"""
