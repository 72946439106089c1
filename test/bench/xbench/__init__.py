"""The parts of contrib/bench: who is compared, in what, and how it is shown.

Only Python's standard library is used, in the version of Debian 12 or later.

SPDX-License-Identifier: BSD-3-Clause
"""
