//! Requests and responses of a virtual network interface (`io/netif.h`), as the words of ring entries.
//!
//! ```text
//! TX request   | gref                | offset 16 · flags 16 | id 16 · size 16    |
//! TX response  | id 16 · status 16   |
//! RX request   | id 16 · padding 16  | gref                 |
//! RX response  | id 16 · offset 16   | flags 16 · status 16 |   status: bytes, or negative
//! extra info   | type 8 · flags 8 · GSO size 16 | GSO type 8 · padding 8 · features 16 |
//! ```

use crate::net::{GsoKind, RxChecksum};

/// The checksum field holds the pseudo-header's sum only (NETTXF_csum_blank).
pub const TX_CSUM_BLANK: u16 = 1;
/// The packet is good (NETTXF_data_validated).
pub const TX_DATA_VALIDATED: u16 = 1 << 1;
/// Another fragment follows (NETTXF_more_data).
pub const TX_MORE_DATA: u16 = 1 << 2;
/// An extra info follows (NETTXF_extra_info).
pub const TX_EXTRA_INFO: u16 = 1 << 3;

const RX_DATA_VALIDATED: u16 = 1;
const RX_CSUM_BLANK: u16 = 1 << 1;
const RX_MORE_DATA: u16 = 1 << 2;
const RX_EXTRA_INFO: u16 = 1 << 3;

const EXTRA_GSO: u8 = 1;
const EXTRA_MORE: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 2;

/// A TX request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxRequest {
    /// The grant of the page.
    pub grant: u32,
    /// Where in the page the bytes begin.
    pub offset: u16,
    /// `TX_*`.
    pub flags: u16,
    /// Given back with the response.
    pub id: u16,
    /// Bytes: of the whole packet in its first request, of the fragment in the others.
    pub size: u16,
}

impl TxRequest {
    /// The ring entry.
    pub fn emit(&self) -> [u32; 3] {
        [
            self.grant,
            pair(self.offset, self.flags),
            pair(self.id, self.size),
        ]
    }
}

/// The extra info of a packet that the backend shall segment.
pub fn emit_gso(kind: GsoKind, size: u16) -> [u32; 3] {
    let kind = match kind {
        GsoKind::TcpV4 => GSO_TCPV4,
        GsoKind::TcpV6 => GSO_TCPV6,
    };
    [
        u32::from(EXTRA_GSO) | u32::from(size) << 16,
        u32::from(kind),
        0,
    ]
}

/// The id of the request that a TX response answers; `None` for the slot of an extra info, whose response
/// (XEN_NETIF_RSP_NULL) has no id.
pub fn tx_response_id(entry: &[u32; 3]) -> Option<u16> {
    const NULL: u32 = 1;
    (entry[0] >> 16 != NULL).then_some(entry[0] as u16)
}

/// An RX request.
pub fn emit_rx(id: u16, grant: u32) -> [u32; 2] {
    [u32::from(id), grant]
}

/// An RX response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RxResponse {
    /// Where in the page the bytes begin.
    pub offset: u16,
    /// What is known of the checksum.
    pub checksum: RxChecksum,
    /// The next response is another fragment of the packet.
    pub more_data: bool,
    /// The next response is an extra info.
    pub extra_info: bool,
    /// Bytes of the fragment; `None` when the backend reports an error.
    pub size: Option<u16>,
}

impl RxResponse {
    /// What a ring entry says.
    pub fn parse(entry: &[u32; 2]) -> Self {
        let flags = entry[1] as u16;
        let status = (entry[1] >> 16) as u16 as i16;
        let checksum = match flags {
            _ if flags & RX_CSUM_BLANK != 0 => RxChecksum::PartialPseudo,
            _ if flags & RX_DATA_VALIDATED != 0 => RxChecksum::Verified,
            _ => RxChecksum::Unknown,
        };
        Self {
            offset: (entry[0] >> 16) as u16,
            checksum,
            more_data: flags & RX_MORE_DATA != 0,
            extra_info: flags & RX_EXTRA_INFO != 0,
            size: u16::try_from(status).ok(),
        }
    }
}

/// An extra info in the RX ring: the segment size if it is about GSO, and whether another follows.
pub fn parse_extra(entry: &[u32; 2]) -> (Option<u16>, bool) {
    let (kind, flags) = (entry[0] as u8, (entry[0] >> 8) as u8);
    let size = (kind == EXTRA_GSO).then_some((entry[0] >> 16) as u16);
    (size, flags & EXTRA_MORE != 0)
}

fn pair(low: u16, high: u16) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_the_layout_of_the_header() {
        let request = TxRequest {
            grant: 0x11223344,
            offset: 0x5566,
            flags: 0x7788,
            id: 0x99aa,
            size: 0xbbcc,
        };
        let bytes: Vec<u8> = request
            .emit()
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let expected = [
            0x44, 0x33, 0x22, 0x11, 0x66, 0x55, 0x88, 0x77, 0xaa, 0x99, 0xcc, 0xbb,
        ];
        assert_eq!(bytes, expected);
        let bytes: Vec<u8> = emit_gso(GsoKind::TcpV6, 1448)
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!(bytes[..8], [1, 0, 0xa8, 0x05, 2, 0, 0, 0]);
    }

    #[test]
    fn responses_are_read() {
        let response = RxResponse::parse(&[pair(3, 64), pair(RX_CSUM_BLANK | RX_EXTRA_INFO, 1514)]);
        let expected = RxResponse {
            offset: 64,
            checksum: RxChecksum::PartialPseudo,
            more_data: false,
            extra_info: true,
            size: Some(1514),
        };
        assert_eq!(response, expected);
        assert_eq!(RxResponse::parse(&[0, pair(0, -1i16 as u16)]).size, None);
        assert_eq!(parse_extra(&[1 | 1448 << 16, 1]), (Some(1448), false));
        assert_eq!(parse_extra(&[4 | 1 << 8, 0]), (None, true));
    }
}
