#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The probe command of the image.
PYTHONPATH=/opt/probe PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 -m e2e.probe "$@"
