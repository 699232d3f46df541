/* SPDX-License-Identifier: Apache-2.0 */
/* The stages behind the entry programs. The loader fills the array by these numbers. */
#pragma once

#define CALL_FRAGMENT  0
#define CALL_EGRESS    1
#define CALL_TRANSLATE 2
#define CALL_INGRESS   3
#define CALL_RELATED   4
#define CALL_JUDGE     5
#define CALL_DELIVER   6
#define CALL_DROP      7
#define CALL_RENEW     8
#define CALL_PROXY     9

BPF_PROG_ARRAY(calls, 10);

/* Does not return, unless the stage is missing. Two calls must not become one with a variable
 * number, which the kernel could not turn into a direct jump: the empty statement keeps them
 * apart. */
static __always_inline void go(struct __sk_buff *skb, u32 stage)
{
	calls.call(skb, stage);
	asm volatile("");
}
