/* SPDX-License-Identifier: Apache-2.0 */
/* What a CPU has read of the agent's tables within this second: most packets ask for the same, and
 * a hash or a tree costs what ten array reads do. Per CPU, for programs run with bottom halves off.
 *
 * The agent writes another generation after every write to a table that is kept like this, and
 * before any write that follows. So who reads the generation first, and believes only what was read
 * under it, reads what it would have read itself. An agent that dies before it writes the
 * generation leaves the old for a second at most. */
#pragma once

struct stamp {
	u64 generation;
	u32 second;
	u32 pad;
};

static __always_inline u64 generation(void)
{
	u64 now = setting(CONFIG_GENERATION);

	barrier();
	return now;
}

/* Needs loads in the order of the program, as x86 has them. */
static __always_inline bool is_recent(const struct stamp *stamp, u64 generation, u32 second)
{
	return ORDERED_LOADS && stamp->generation == generation && stamp->second == second;
}

static __always_inline void put_stamp(struct stamp *stamp, u64 generation, u32 second)
{
	stamp->generation = generation;
	stamp->second = second;
}
