/* SPDX-License-Identifier: Apache-2.0 */
/* The stages behind the entry programs, in order. The loader fills the array by these numbers. */
#pragma once

#define CALL_TRANSLATE 0
#define CALL_DELIVER   1

BPF_PROG_ARRAY(calls, 2);
