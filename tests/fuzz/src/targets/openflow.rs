//! What a switch says, or whoever reaches its port: the bytes are a stream of messages.

use openflow::{Header, Message, Version};

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "openflow",
    run: openflow::fuzz,
    seeds,
};

/// The short messages; those that carry matches and actions begin as messages whose types differ.
fn seeds() -> Vec<Vec<u8>> {
    let messages = [
        Message::EchoRequest(b"are you there".to_vec()),
        Message::FeaturesRequest,
        Message::BarrierRequest,
        Message::Other {
            kind: 12,
            body: vec![0; 80],
        },
        Message::Other {
            kind: 14,
            body: vec![0; 64],
        },
        Message::Other {
            kind: 19,
            body: vec![0; 64],
        },
    ];
    let versions = [Version::V13, Version::V15];
    let written = |version| {
        let header = Header { version, xid: 1 };
        let bytes = messages
            .iter()
            .filter_map(move |message| message.emit(header).ok());
        bytes.collect::<Vec<_>>()
    };
    versions.into_iter().flat_map(written).collect()
}
