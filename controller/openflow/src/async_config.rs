//! SET_ASYNC (28) and GET_ASYNC_REPLY (27): what the switch tells unasked. 1.5.1 section 7.3.10.

use crate::error::EmitError;
use crate::property;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// Bits of reasons for which something is told: to a master or equal, and to a slave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Reasons {
    /// To a controller that is master or equal.
    pub master: u32,
    /// To a controller that is slave.
    pub slave: u32,
}

/// What the switch tells unasked. A bit is `1 << reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AsyncConfig {
    /// Packet-ins. None: as it was; 1.3 has no way to say that.
    pub packet_in: Option<Reasons>,
    /// Changes of ports.
    pub port_status: Option<Reasons>,
    /// Flows that went.
    pub flow_removed: Option<Reasons>,
    /// 1.5: changes of role.
    pub role_status: Option<Reasons>,
    /// 1.5: changes of tables.
    pub table_status: Option<Reasons>,
    /// 1.5: other controllers' changes of groups and meters.
    pub request_forward: Option<Reasons>,
}

/// Properties come in pairs, slave before master.
const PAIRS: u16 = 6;

impl AsyncConfig {
    pub(crate) fn parse(from: &mut Reader<'_>, version: Version) -> Parsed<AsyncConfig> {
        let mut config = AsyncConfig::default();
        if version < Version::V15 {
            for kind in config.kinds_mut().into_iter().take(3) {
                let master = from.u32("asynchronous reasons")?;
                *kind = Some(Reasons {
                    master,
                    slave: from.u32("asynchronous reasons")?,
                });
            }
            return Ok(config);
        }
        while !from.is_empty() {
            let (number, mut value) = property::next(from)?;
            let mut kinds = config.kinds_mut().into_iter();
            // Experimenters' kinds are of no meaning here.
            let Some(kind) = kinds.nth(usize::from(number / 2)) else {
                continue;
            };
            let bits = value.u32("asynchronous reasons")?;
            let reasons = kind.get_or_insert_default();
            if number % 2 == 0 {
                reasons.slave = bits
            } else {
                reasons.master = bits
            }
        }
        Ok(config)
    }

    fn kinds_mut(&mut self) -> [&mut Option<Reasons>; PAIRS as usize] {
        [
            &mut self.packet_in,
            &mut self.port_status,
            &mut self.flow_removed,
            &mut self.role_status,
            &mut self.table_status,
            &mut self.request_forward,
        ]
    }

    pub(crate) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        let mut copy = *self;
        for (number, kind) in (0..PAIRS).zip(copy.kinds_mut()) {
            match (version, *kind) {
                (Version::V13, kind) if number < 3 => {
                    let missing = EmitError::NotInVersion("a kind of message left as it was");
                    let reasons = kind.ok_or(missing)?;
                    to.u32(reasons.master);
                    to.u32(reasons.slave);
                }
                (Version::V13, Some(_)) => {
                    return Err(EmitError::NotInVersion("a kind of asynchronous message"));
                }
                (Version::V15, Some(reasons)) => {
                    property::emit(to, 2 * number, &reasons.slave.to_be_bytes())?;
                    property::emit(to, 2 * number + 1, &reasons.master.to_be_bytes())?;
                }
                (_, None) => {}
            }
        }
        Ok(())
    }
}
