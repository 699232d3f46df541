# SPDX-License-Identifier: Apache-2.0
"""Generated from the protos beside it by `python -m emojivoto.protogen`."""
