# SPDX-License-Identifier: Apache-2.0
"""Random policy and pod churn under kills; at quiet points the kernel's maps are judged."""
