//! The function that fuzzers call.

use crate::deframer::Deframer;
use crate::message::Message;

/// Reads bytes as a stream of messages and checks what must hold of any bytes: no panic, and what
/// was read and can be written is read the same again.
///
/// # Panics
/// Where that does not hold, which is a fault of this crate.
pub fn fuzz(bytes: &[u8]) {
    let mut deframer = Deframer::default();
    deframer.push(bytes);
    while let Ok(Some(bytes)) = deframer.next_message() {
        let Ok((header, message)) = Message::parse(bytes) else {
            continue;
        };
        // Text must not panic either.
        if let Message::FlowMod(flow_mod) = &message {
            assert!(!flow_mod.to_flow().to_string().is_empty());
        }
        let Ok(written) = message.emit(header) else {
            continue;
        };
        let again = Message::parse(&written);
        assert_eq!(again.as_ref().map(|(_, message)| message), Ok(&message));
        assert_eq!(message.emit(header), Ok(written));
    }
}
