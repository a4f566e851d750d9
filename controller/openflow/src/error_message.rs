//! ERROR (1): why the switch refused. 1.5.1 section 7.5.4.

use std::fmt;

use crate::wire::{Parsed, Reader, Writer};

/// `OFPET_EXPERIMENTER`.
const EXPERIMENTER: u16 = 0xffff;

/// Why the switch refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ErrorMessage {
    /// What kind of message it refused (`OFPET_*`).
    pub kind: u16,
    /// Why, per kind; for an experimenter's errors its own type.
    pub code: u16,
    /// Whose error it is, where it is not OpenFlow's own.
    pub experimenter: Option<u32>,
    /// The beginning of what was refused, or text where the hello was.
    pub data: Vec<u8>,
}

impl ErrorMessage {
    /// The number of the message refused, where the switch sent enough of it.
    pub fn refused_xid(&self) -> Option<u32> {
        let number = self.data.get(4..8)?;
        Some(
            number
                .iter()
                .fold(0, |xid, byte| xid << 8 | u32::from(*byte)),
        )
    }

    /// The specification's name of kind and code, such as `FLOW_MOD_FAILED: OVERLAP`; None for one
    /// that it does not name.
    pub fn name(&self) -> Option<(&'static str, &'static str)> {
        if self.experimenter.is_some() {
            return None;
        }
        let (kind, codes) = NAMES.get(usize::from(self.kind))?;
        Some((kind, codes.get(usize::from(self.code))?))
    }

    pub(crate) fn parse(from: &mut Reader<'_>) -> Parsed<ErrorMessage> {
        let kind = from.u16("error's type")?;
        let code = from.u16("error's code")?;
        let experimenter = match kind {
            EXPERIMENTER => Some(from.u32("error's experimenter")?),
            _ => None,
        };
        Ok(ErrorMessage {
            kind,
            code,
            experimenter,
            data: from.rest().to_vec(),
        })
    }

    pub(crate) fn emit(&self, to: &mut Writer) {
        to.u16(if self.experimenter.is_some() {
            EXPERIMENTER
        } else {
            self.kind
        });
        to.u16(self.code);
        self.experimenter.iter().for_each(|vendor| to.u32(*vendor));
        to.bytes(&self.data);
    }
}

impl fmt::Display for ErrorMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.experimenter) {
            (Some((kind, code)), _) => write!(f, "the switch refused: {kind}: {code}")?,
            (None, Some(vendor)) => {
                write!(
                    f,
                    "the switch refused: error {} of vendor {vendor:#x}",
                    self.code
                )?;
            }
            (None, None) => {
                write!(
                    f,
                    "the switch refused: type {}, code {}",
                    self.kind, self.code
                )?;
            }
        }
        match self.refused_xid() {
            Some(xid) => write!(f, " (message {xid:#x})"),
            None => Ok(()),
        }
    }
}

/// The names of 1.5.1, by type and code.
const NAMES: [(&str, &[&str]); 18] = [
    ("HELLO_FAILED", &["INCOMPATIBLE", "EPERM"]),
    (
        "BAD_REQUEST",
        &[
            "BAD_VERSION",
            "BAD_TYPE",
            "BAD_MULTIPART",
            "BAD_EXPERIMENTER",
            "BAD_EXP_TYPE",
            "EPERM",
            "BAD_LEN",
            "BUFFER_EMPTY",
            "BUFFER_UNKNOWN",
            "BAD_TABLE_ID",
            "IS_SLAVE",
            "BAD_PORT",
            "BAD_PACKET",
            "MULTIPART_BUFFER_OVERFLOW",
            "MULTIPART_REQUEST_TIMEOUT",
            "MULTIPART_REPLY_TIMEOUT",
            "MULTIPART_BAD_SCHED",
            "PIPELINE_FIELDS_ONLY",
            "UNKNOWN",
        ],
    ),
    (
        "BAD_ACTION",
        &[
            "BAD_TYPE",
            "BAD_LEN",
            "BAD_EXPERIMENTER",
            "BAD_EXP_TYPE",
            "BAD_OUT_PORT",
            "BAD_ARGUMENT",
            "EPERM",
            "TOO_MANY",
            "BAD_QUEUE",
            "BAD_OUT_GROUP",
            "MATCH_INCONSISTENT",
            "UNSUPPORTED_ORDER",
            "BAD_TAG",
            "BAD_SET_TYPE",
            "BAD_SET_LEN",
            "BAD_SET_ARGUMENT",
            "BAD_SET_MASK",
            "BAD_METER",
        ],
    ),
    (
        "BAD_INSTRUCTION",
        &[
            "UNKNOWN_INST",
            "UNSUP_INST",
            "BAD_TABLE_ID",
            "UNSUP_METADATA",
            "UNSUP_METADATA_MASK",
            "BAD_EXPERIMENTER",
            "BAD_EXP_TYPE",
            "BAD_LEN",
            "EPERM",
            "DUP_INST",
        ],
    ),
    (
        "BAD_MATCH",
        &[
            "BAD_TYPE",
            "BAD_LEN",
            "BAD_TAG",
            "BAD_DL_ADDR_MASK",
            "BAD_NW_ADDR_MASK",
            "BAD_WILDCARDS",
            "BAD_FIELD",
            "BAD_VALUE",
            "BAD_MASK",
            "BAD_PREREQ",
            "DUP_FIELD",
            "EPERM",
        ],
    ),
    (
        "FLOW_MOD_FAILED",
        &[
            "UNKNOWN",
            "TABLE_FULL",
            "BAD_TABLE_ID",
            "OVERLAP",
            "EPERM",
            "BAD_TIMEOUT",
            "BAD_COMMAND",
            "BAD_FLAGS",
            "CANT_SYNC",
            "BAD_PRIORITY",
            "IS_SYNC",
        ],
    ),
    (
        "GROUP_MOD_FAILED",
        &[
            "GROUP_EXISTS",
            "INVALID_GROUP",
            "WEIGHT_UNSUPPORTED",
            "OUT_OF_GROUPS",
            "OUT_OF_BUCKETS",
            "CHAINING_UNSUPPORTED",
            "WATCH_UNSUPPORTED",
            "LOOP",
            "UNKNOWN_GROUP",
            "CHAINED_GROUP",
            "BAD_TYPE",
            "BAD_COMMAND",
            "BAD_BUCKET",
            "BAD_WATCH",
            "EPERM",
            "UNKNOWN_BUCKET",
            "BUCKET_EXISTS",
        ],
    ),
    (
        "PORT_MOD_FAILED",
        &[
            "BAD_PORT",
            "BAD_HW_ADDR",
            "BAD_CONFIG",
            "BAD_ADVERTISE",
            "EPERM",
        ],
    ),
    ("TABLE_MOD_FAILED", &["BAD_TABLE", "BAD_CONFIG", "EPERM"]),
    ("QUEUE_OP_FAILED", &["BAD_PORT", "BAD_QUEUE", "EPERM"]),
    ("SWITCH_CONFIG_FAILED", &["BAD_FLAGS", "BAD_LEN", "EPERM"]),
    (
        "ROLE_REQUEST_FAILED",
        &["STALE", "UNSUP", "BAD_ROLE", "ID_UNSUP", "ID_IN_USE"],
    ),
    (
        "METER_MOD_FAILED",
        &[
            "UNKNOWN",
            "METER_EXISTS",
            "INVALID_METER",
            "UNKNOWN_METER",
            "BAD_COMMAND",
            "BAD_FLAGS",
            "BAD_RATE",
            "BAD_BURST",
            "BAD_BAND",
            "BAD_BAND_VALUE",
            "OUT_OF_METERS",
            "OUT_OF_BANDS",
        ],
    ),
    (
        "TABLE_FEATURES_FAILED",
        &[
            "BAD_TABLE",
            "BAD_METADATA",
            "",
            "",
            "",
            "EPERM",
            "BAD_CAPA",
            "BAD_MAX_ENT",
        ],
    ),
    (
        "BAD_PROPERTY",
        &[
            "BAD_TYPE",
            "BAD_LEN",
            "BAD_VALUE",
            "TOO_MANY",
            "DUP_TYPE",
            "BAD_EXPERIMENTER",
            "BAD_EXP_TYPE",
            "BAD_EXP_VALUE",
            "EPERM",
        ],
    ),
    ("ASYNC_CONFIG_FAILED", &["INVALID", "UNSUPPORTED", "EPERM"]),
    (
        "FLOW_MONITOR_FAILED",
        &[
            "UNKNOWN",
            "MONITOR_EXISTS",
            "INVALID_MONITOR",
            "UNKNOWN_MONITOR",
            "BAD_COMMAND",
            "BAD_FLAGS",
            "BAD_TABLE_ID",
            "BAD_OUT",
        ],
    ),
    (
        "BUNDLE_FAILED",
        &[
            "UNKNOWN",
            "EPERM",
            "BAD_ID",
            "BUNDLE_EXIST",
            "BUNDLE_CLOSED",
            "OUT_OF_BUNDLES",
            "BAD_TYPE",
            "BAD_FLAGS",
            "MSG_BAD_LEN",
            "MSG_BAD_XID",
            "MSG_UNSUP",
            "MSG_CONFLICT",
            "MSG_TOO_MANY",
            "MSG_FAILED",
            "TIMEOUT",
            "BUNDLE_IN_PROGRESS",
            "SCHED_NOT_SUPPORTED",
            "SCHED_FUTURE",
            "SCHED_PAST",
        ],
    ),
];
