/* SPDX-License-Identifier: Apache-2.0 */
/* The one translation unit: bcc compiles it once a node. Order matters, as in any C. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/errno.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/if_packet.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/ipv6.h>
#include <uapi/linux/icmpv6.h>
#include <uapi/linux/pkt_cls.h>
#include <uapi/linux/tcp.h>
#include <uapi/linux/udp.h>

#include "lib/layouts.h"
#include "lib/maps.h"
#include "lib/counters.h"
#include "lib/packet.h"
#include "lib/parse.h"
#include "lib/service.h"
#include "lib/rewrite.h"
#include "lib/identity.h"
#include "lib/tunnel.h"
#include "lib/calls.h"
#include "from_container.c"
#include "from_overlay.c"
#include "from_host.c"
#include "translate.c"
#include "deliver.c"
#include "sock.c"
