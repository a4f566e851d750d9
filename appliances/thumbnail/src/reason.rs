//! Why something is not taken, and why something is refused.

use axum::http::StatusCode;
use edgecloud_appliance::Refusal;

/// Why a request goes to the origin as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Not POST or PUT, or not to a path of uploads.
    NoUpload,
    /// Its first bytes are of no format that is decoded.
    UnknownFormat,
    /// A form without a picture at its start.
    NoPicture,
    /// More than `limits::BODY_BYTES_MAX`.
    TooLarge,
    /// Encoded, a range, or another thing that only the origin understands.
    Unusual,
    /// The memory for bodies is used up.
    Pressure,
    /// This client has its share of it.
    ClientShare,
    /// The uploader cannot be reached, or refuses.
    UploaderAway,
    /// The uploader failed while it was given the body.
    UploaderFailed,
    /// The origin does not want a thumbnail of this.
    OriginRefuses,
}

impl Pass {
    pub(crate) const ALL: [Pass; 10] = [
        Pass::NoUpload,
        Pass::UnknownFormat,
        Pass::NoPicture,
        Pass::TooLarge,
        Pass::Unusual,
        Pass::Pressure,
        Pass::ClientShare,
        Pass::UploaderAway,
        Pass::UploaderFailed,
        Pass::OriginRefuses,
    ];

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Pass::NoUpload => "no-upload",
            Pass::UnknownFormat => "unknown-format",
            Pass::NoPicture => "no-picture",
            Pass::TooLarge => "too-large",
            Pass::Unusual => "unusual",
            Pass::Pressure => "pressure",
            Pass::ClientShare => "client-share",
            Pass::UploaderAway => "uploader-away",
            Pass::UploaderFailed => "uploader-failed",
            Pass::OriginRefuses => "origin-refuses",
        }
    }
}

/// Why a request is answered with an error of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The origin cannot be reached, or speaks no HTTP.
    OriginAway,
    /// The origin does not answer in time.
    OriginSlow,
    /// The request was here before.
    Loop,
    /// It names no host.
    NoHost,
    /// The client's body stopped, or broke off.
    BodyStopped,
    /// An upload that began here cannot go on: its uploader is away.
    UploaderAway,
}

impl Refusal for Refused {
    const ALL: &'static [Refused] = &[
        Refused::OriginAway,
        Refused::OriginSlow,
        Refused::Loop,
        Refused::NoHost,
        Refused::BodyStopped,
        Refused::UploaderAway,
    ];

    fn reason(self) -> &'static str {
        match self {
            Refused::OriginAway => "origin-away",
            Refused::OriginSlow => "origin-slow",
            Refused::Loop => "loop",
            Refused::NoHost => "no-host",
            Refused::BodyStopped => "body-stopped",
            Refused::UploaderAway => "uploader-away",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Refused::OriginAway => StatusCode::BAD_GATEWAY,
            Refused::OriginSlow => StatusCode::GATEWAY_TIMEOUT,
            Refused::Loop => StatusCode::LOOP_DETECTED,
            Refused::NoHost => StatusCode::BAD_REQUEST,
            Refused::BodyStopped => StatusCode::REQUEST_TIMEOUT,
            Refused::UploaderAway => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Refused::OriginAway => "the site cannot be reached from here; try again later",
            Refused::OriginSlow => "the site did not answer in time; try again later",
            Refused::Loop => {
                "this request has been here before; give the thumbnailer the origin's address"
            }
            Refused::NoHost => "the request names no host; send a Host field",
            Refused::BodyStopped => "the body stopped before its end; send it again",
            Refused::UploaderAway => {
                "the upload cannot go on just now; ask for its offset and go on from there"
            }
        }
    }
}
