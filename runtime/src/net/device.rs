//! What passes between the stack and a driver beside the bytes of a frame.
//!
//! The meanings are those of Xen's `io/netif.h` and of Linux's `virtio_net_hdr`, which agree: a sender
//! may leave the transport checksum to the device (the field then holds the sum over the pseudo-header),
//! and may hand over one TCP segment of up to 64 kB to be cut into packets of a given payload size.

/// What is known of a received frame's transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxChecksum {
    /// The device or a trusted sender vouches for it.
    Verified,
    /// The field holds the pseudo-header sum, because the sender on this host left the rest to a device
    /// that was never needed (`NETRXF_csum_blank`). As good as verified.
    PartialPseudo,
    /// Nothing is known: the stack verifies it.
    #[default]
    Unknown,
}

/// What the device says of a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RxMeta {
    /// The transport checksum.
    pub checksum: RxChecksum,
    /// The payload size of the packets from which, or for which, this frame was put together.
    pub gso_size: Option<u16>,
}

/// What the device must still do with the transport checksum of a frame to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxChecksum {
    /// Nothing.
    Complete,
    /// Sum from `start` to the end of the frame and store the result at `start + offset`, where the
    /// pseudo-header's sum lies already. Both count bytes from the start of the frame.
    Partial {
        /// First byte summed: the transport header.
        start: u16,
        /// Place of the checksum within the transport header.
        offset: u16,
    },
}

/// Which kind of segment a [`Gso`] frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
}

/// The device shall cut the frame's TCP payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gso {
    /// Payload bytes per packet: never zero.
    pub size: u16,
    /// What it cuts.
    pub kind: GsoKind,
}

/// What the device must do with a frame to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxMeta {
    /// The transport checksum.
    pub checksum: TxChecksum,
    /// Segmentation, if any.
    pub gso: Option<Gso>,
}

impl TxMeta {
    /// A frame that is ready as it is.
    pub const COMPLETE: TxMeta = TxMeta {
        checksum: TxChecksum::Complete,
        gso: None,
    };
}

/// The transmitting half of a driver, which lends its own memory, so that a frame is written once.
pub trait TxDevice {
    /// Whether a frame of `len` bytes can be sent now.
    fn has_room(&self, len: usize) -> bool;

    /// Sends one frame of exactly `len` bytes, which `fill` writes; called only after [`has_room`] said
    /// yes. `fill` overwrites every byte.
    ///
    /// [`has_room`]: TxDevice::has_room
    fn send(&mut self, len: usize, meta: TxMeta, fill: impl FnOnce(&mut [u8]));
}

/// What the device can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// The largest IP packet on the wire.
    pub mtu: u16,
    /// The device completes TCP and UDP checksums over IPv4.
    pub checksum_v4: bool,
    /// The device completes TCP and UDP checksums over IPv6.
    pub checksum_v6: bool,
    /// The device segments TCP over IPv4. Asks for `checksum_v4`.
    pub gso_v4: bool,
    /// The device segments TCP over IPv6. Asks for `checksum_v6`.
    pub gso_v6: bool,
    /// The largest frame that may be handed over for segmentation, Ethernet header included.
    pub frame_max: usize,
}

impl Default for Capabilities {
    /// A plain Ethernet card.
    fn default() -> Self {
        Capabilities {
            mtu: 1500,
            checksum_v4: false,
            checksum_v6: false,
            gso_v4: false,
            gso_v6: false,
            frame_max: 65_535,
        }
    }
}
