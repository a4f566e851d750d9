//! What an operator can read: packets, bytes, drops by reason, sockets by state, memory.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])+ $name:ident = $text:literal,)+) => {
        /// Why a received packet, or one to be sent, went no further.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum DropReason {
            $($(#[$doc])+ $name,)+
        }

        impl DropReason {
            /// All of them, in the order of their numbers.
            pub const ALL: &[DropReason] = &[$(DropReason::$name,)+];

            /// The name in metrics and logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DropReason::$name => $text,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// Shorter than its headers say.
    Truncated = "truncated",
    /// A header field contradicts another or the specification.
    BadHeader = "bad-header",
    /// A checksum is wrong.
    BadChecksum = "bad-checksum",
    /// For another Ethernet or IP address.
    NotOurs = "not-ours",
    /// An EtherType or IP protocol that is not spoken here.
    UnknownProtocol = "unknown-protocol",
    /// No socket takes it.
    NoListener = "no-listener",
    /// The listener's queue of accepted connections is full.
    BacklogFull = "backlog-full",
    /// Too many handshakes are unfinished.
    HalfOpenFull = "half-open-full",
    /// A TCP segment outside the window, or that acknowledges what was never sent.
    OutOfWindow = "out-of-window",
    /// A socket's queue of datagrams is full.
    QueueFull = "queue-full",
    /// The memory set aside for buffers is used up.
    Memory = "memory",
    /// A fragment that is too late, too many, or contradicts another.
    Fragment = "fragment",
    /// No route to the destination.
    NoRoute = "no-route",
    /// The next hop's Ethernet address could not be found out.
    NeighborUnresolved = "neighbor-unresolved",
    /// An answer (RST, ICMP) withheld, because too many were sent in this second.
    RateLimited = "rate-limited",
}

/// Totals since the stack was made; gauges where said.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Frames received, also those dropped.
    pub rx_packets: u64,
    /// Their bytes, Ethernet headers included.
    pub rx_bytes: u64,
    /// Frames handed to the device; one segmented by the device counts once.
    pub tx_packets: u64,
    /// Their bytes, Ethernet headers included.
    pub tx_bytes: u64,
    /// Received frames that stood for several packets.
    pub rx_gso_packets: u64,
    /// Frames sent for the device to cut.
    pub tx_gso_packets: u64,
    /// Drops, by [`DropReason`] in the order of [`DropReason::ALL`].
    drops: [u64; DropReason::ALL.len()],
    /// TCP segments sent again.
    pub tcp_retransmissions: u64,
    /// Retransmission timeouts that passed.
    pub tcp_timeouts: u64,
    /// TCP segments that came out of order.
    pub tcp_out_of_order: u64,
    /// Connections that a peer opened.
    pub tcp_accepted: u64,
    /// Connections that were opened from here.
    pub tcp_connected: u64,
    /// RST segments sent.
    pub tcp_resets_sent: u64,
    /// Connections that a peer's RST ended.
    pub tcp_resets_received: u64,
    /// ICMP and ICMPv6 errors sent.
    pub icmp_errors_sent: u64,
    /// Echo requests answered.
    pub icmp_echo_replies: u64,
    /// Gauge: open TCP connections, orphans and half-open ones included.
    pub tcp_connections: u32,
    /// Gauge: handshakes begun by peers and not finished.
    pub tcp_half_open: u32,
    /// Gauge: listening sockets.
    pub tcp_listeners: u32,
    /// Gauge: connections that wait out their last segments.
    pub tcp_time_wait: u32,
    /// Gauge: UDP sockets.
    pub udp_sockets: u32,
    /// Gauge: bytes of memory held by socket buffers.
    pub buffer_bytes: usize,
}

impl Counters {
    /// Counts one drop.
    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    /// How often packets were dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }
}
